"""Progress of a node from the records of its workers."""

from types import SimpleNamespace
from typing import Any

from hala_hpc.core.job_records import Progress
from hala_hpc.jobs.progress import summarize_progress


def node(*workers: dict[str, float], done: int = 0) -> Any:
    """A node with these counts of its workers after 10 seconds, and so many finished units."""
    reports = [
        Progress(worker=number, rank=0, attempt="a", began=100, time=110, **counts)  # type: ignore[arg-type]
        for number, counts in enumerate(workers)
    ]
    return SimpleNamespace(progress=lambda: reports, done_units=lambda: set(range(done)))


def test_workers_that_know_their_own_rows_only_are_added_up() -> None:
    evaluation = node(
        {"rows": 30, "rows_of_worker": 60, "tokens": 500},
        {"rows": 10, "rows_of_worker": 40, "tokens": 300},
        done=3,
    )
    found = summarize_progress(evaluation, units=4)
    assert found.describe() == "40/100 rows, 80 tokens/s"
    assert found.format_time_left() == "0:00:15"


def test_rows_of_the_node_count_what_earlier_rounds_have_done() -> None:
    translation = node({"rows": 10, "rows_of_node": 100}, done=2)
    assert summarize_progress(translation, units=4).describe() == "50/100 rows"
