"""A fault that affects every row stops its node after 200 rows; content of rows does not."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from corpora import pair, row_id, write_corpus
from plain_out import PlainContext
from standin_engine import StandInEngine, stand_in_config

from hala_hpc.core.errors import BAD_DATA, EarlyStop
from hala_hpc.core.stage import UnitCounts
from hala_hpc.data.corpus.reader import Kind, Row
from hala_hpc.engines.generation.engine import Completion
from hala_hpc.engines.generation.first_rows_check import (
    FIRST_ROWS,
    FirstRows,
    FirstRowsCheck,
    NodeRows,
)
from hala_hpc.engines.generation.row_program import TOO_LONG, Prompt, Rejection, RowJob, RowProgram
from hala_hpc.engines.generation.row_scheduler import RowScheduler
from hala_hpc.engines.generation.unit_files import check_corpus_unit
from hala_hpc.jobs.failures.classify import failure_facts

UNITS, ROWS = 8, 900
#: What a fault may cost beyond the first rows: what two workers have in hand and do meanwhile.
SLACK_ROWS = 60


class RejectByLabel:
    """Rejects a row with the first word of its text as the reason, unless that is `good`."""

    kind: Kind = "pairs"

    def __init__(self) -> None:
        self.extra: dict[str, str] = {}
        self.wanted: frozenset[str] | None = frozenset({"unwanted"})

    def fit(self, _room: int, _count: Callable[[str], int]) -> None:
        pass

    def program(self, row: Row) -> RowProgram:
        label = row["source"].partition(" ")[0]
        if label == "rule":
            return Rejection("unwanted")
        answer = (yield [Prompt(row["source"])])[0]
        if answer.reason:
            return Rejection(answer.reason)
        return {**row, "target": answer.text} if label == "good" else Rejection(label)

    def fault(self, _before: Row, _after: Row) -> str:
        return ""


class Checked:
    """The part of a stage that a commit needs."""

    def __init__(self, work: RowJob) -> None:
        self.work = work

    def check(self, unit: int, folder: Path) -> UnitCounts:
        return check_corpus_unit(unit, folder, self.work)


class Out(PlainContext):
    """An attempt of some worker; all workers have one base."""

    def __init__(self, base: Path, work: RowJob, worker: int = 0) -> None:
        super().__init__(base, Checked(work))  # type: ignore[arg-type]
        self.worker = worker


class Mortal(StandInEngine):
    """Ends its process, as a kill does, after so many answers."""

    def __init__(self, answers: int) -> None:
        super().__init__(stand_in_config(max_num_seqs=4))
        self.left = answers

    def step(self) -> list[Completion]:
        completions = super().step()
        self.left -= len(completions)
        if self.left < 0:
            raise KeyboardInterrupt
        return completions


def work_of(base: Path, labels: list[str], **more: Any) -> RowJob:
    """Rows that begin with these labels by turns; 99 % of them may be rejected."""
    texts = [f"{labels[number % len(labels)]} {number}" for number in range(ROWS)]
    rows = [{**pair(text, ""), "id": row_id(number)} for number, text in enumerate(texts)]
    corpus = write_corpus(base / "c", rows)
    return RowJob(corpus, "c", UNITS, RejectByLabel(), **{"max_rejected_fraction": 0.99, **more})


def run(
    base: Path, work: RowJob, worker: int = 0, units: Iterator[int] | None = None
) -> RowScheduler:
    engine = StandInEngine(stand_in_config(max_num_seqs=4))
    feed = RowScheduler(engine, work, Out(base, work, worker))
    feed.run(units or range(UNITS))
    return feed


@pytest.mark.parametrize("share", [10, 9])
def test_a_fault_of_nearly_all_rows_stops_the_node_after_its_first_rows(
    tmp_path: Path, share: int
) -> None:
    work = work_of(tmp_path, ["broken"] * share + ["good"] * (10 - share), gpus=8)
    with pytest.raises(EarlyStop) as caught:
        run(tmp_path, work)
    first_rows = FirstRows.read(tmp_path / "shared" / "first-00000.json")
    assert first_rows
    rows = NodeRows.of([first_rows]).rows
    assert FIRST_ROWS <= rows <= FIRST_ROWS + SLACK_ROWS
    assert caught.value.code == BAD_DATA
    assert f"of the first {rows} rows are rejected for 'broken'" in str(caught.value)
    assert caught.value.gpu_seconds == round(first_rows.seconds * 8, 1)
    assert f"{caught.value.gpu_seconds:.0f} GPU seconds" in str(caught.value)
    assert failure_facts(caught.value).gpu_seconds == caught.value.gpu_seconds
    # A worker that starts later does not start an engine.
    with pytest.raises(EarlyStop):
        FirstRowsCheck(work, Out(tmp_path, work, 1)).publish_and_check()
    FirstRowsCheck(
        replace(work, max_rejected_fraction=1.0), Out(tmp_path, work, 1)
    ).publish_and_check()


@pytest.mark.parametrize(
    "labels",
    [
        ["code"] * 9 + ["good"],
        ["unwanted"] * 10,
        ["broken"] * 6 + ["good"] * 4,
        ["broken"] * 5 + ["silent"] * 5,
    ],
)
def test_content_and_shares_that_may_be_chance_do_not(tmp_path: Path, labels: list[str]) -> None:
    assert run(tmp_path, work_of(tmp_path, labels, max_rejected_fraction=0.999)).rows == ROWS


def test_any_fault_goes_on_where_all_rows_may_be_rejected(tmp_path: Path) -> None:
    work = work_of(tmp_path, ["broken"], max_rejected_fraction=1.0)
    assert run(tmp_path, work).rows == ROWS
    assert not list((tmp_path / "shared").glob("first-*"))


def test_rows_that_no_model_was_prompted_with_do_not_count(tmp_path: Path) -> None:
    # The rules reject their rows before the engine has generated a token.
    work = work_of(tmp_path, ["rule"] * 2 + ["broken"])
    with pytest.raises(EarlyStop) as caught:
        run(tmp_path, work)
    assert "rejected for 'broken'" in str(caught.value)
    long = work_of(tmp_path / "long", ["x" * 5000, "good", "good"])
    assert run(tmp_path / "long", long).rows == ROWS
    first_rows = FirstRows.read(tmp_path / "long" / "shared" / "first-00000.json")
    assert first_rows
    assert TOO_LONG not in NodeRows.of([first_rows]).faults


def test_two_workers_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALA_STANDIN_STEP_S", "0.02")
    work = work_of(tmp_path, ["broken"] * 9 + ["good"], gpus=1)
    ends: list[EarlyStop] = []

    def work_at(worker: int) -> None:
        try:
            run(tmp_path, work, worker, iter(range(worker, UNITS, 2)))
        except EarlyStop as error:
            ends.append(error)

    workers = [threading.Thread(target=work_at, args=(worker,)) for worker in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    files = sorted((tmp_path / "shared").glob("first-*.json"))
    first_rows = [one for one in map(FirstRows.read, files) if one]
    assert len(ends) == len(first_rows) == 2
    whole = NodeRows.of(first_rows)
    assert max(NodeRows.of([one]).rows for one in first_rows) < FIRST_ROWS + SLACK_ROWS
    assert FIRST_ROWS <= whole.rows < 2 * (FIRST_ROWS + SLACK_ROWS)
    assert "s of 2 workers with 1 GPUs each" in str(ends[-1])
    assert sum(one.seconds for one in first_rows) >= ends[0].gpu_seconds > 0


def test_no_row_counts_twice_after_a_kill(tmp_path: Path) -> None:
    work = work_of(tmp_path, ["broken"] * 9 + ["good"])
    outs = [Out(tmp_path, work) for _ in range(4)]
    seconds = 0.0
    for answers, out in zip((50, 90, 10), outs, strict=False):
        with pytest.raises(KeyboardInterrupt):
            RowScheduler(Mortal(answers), work, out, commit_interval_s=0.01).run(left(outs))
        first_rows = read_first_rows(tmp_path)
        assert NodeRows.of([first_rows]).rows == on_the_disk(tmp_path, outs)
        assert first_rows.seconds >= seconds
        seconds = first_rows.seconds
    engine = StandInEngine(stand_in_config(max_num_seqs=4))
    with pytest.raises(EarlyStop):
        RowScheduler(engine, work, outs[-1], commit_interval_s=0.01).run(left(outs))
    first_rows = read_first_rows(tmp_path)
    assert FIRST_ROWS <= NodeRows.of([first_rows]).rows == on_the_disk(tmp_path, outs)
    assert first_rows.seconds > seconds


def left(outs: list[Out]) -> list[int]:
    """Units that no attempt has finished."""
    return [unit for unit in range(UNITS) if not any(unit in out.markers for out in outs)]


def read_first_rows(base: Path) -> FirstRows:
    """Read what the first worker published."""
    return FirstRows.read_if_valid(base / "shared" / "first-00000.json") or FirstRows()


def on_the_disk(base: Path, outs: list[Out]) -> int:
    """Finished rows that no kill can lose."""
    segments = (base / "kept").glob("*/piece-*.jsonl")
    in_journals = sum(len(path.read_text().splitlines()) - 1 for path in segments)
    return in_journals + sum(marker.rows_in for out in outs for marker in out.markers.values())
