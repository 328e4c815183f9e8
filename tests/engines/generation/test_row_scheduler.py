"""Many units through one engine: order, memory of the GPU, rows that are rejected.

With the stand-in of tests/standin, which answers letter by letter and has no model.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from corpora import pair, write_corpus
from plain_out import PlainContext
from standin_engine import TOO_MUCH, StandInEngine, arabic, stand_in_config

from hala_hpc.core.errors import BAD_DATA, EarlyStop, UserError
from hala_hpc.core.stage import UnitCounts
from hala_hpc.data.corpus.reader import REJECTED, Kind, Row, part_name, read_part
from hala_hpc.engines.generation.engine import Completion
from hala_hpc.engines.generation.row_program import (
    OUT_OF_MEMORY,
    Prompt,
    Rejection,
    RowJob,
    RowProgram,
)
from hala_hpc.engines.generation.row_scheduler import RowScheduler
from hala_hpc.engines.generation.unit_files import check_corpus_unit, collect_corpus

UNITS = 4


class OneQuestion:
    """Prompts with the source of a pair; retries a row with a question mark."""

    kind: Kind = "pairs"

    def __init__(self) -> None:
        self.extra: dict[str, str] = {}
        self.wanted: frozenset[str] | None = frozenset({"no"})

    def fit(self, _room: int, _count: Callable[[str], int]) -> None:
        pass

    def program(self, row: Row) -> RowProgram:
        answer = (yield [Prompt(row["source"])])[0]
        if "?" in row["source"]:
            answer = (yield [Prompt(row["source"] + "!", retry_reason="unsure")])[0]
        if answer.reason:
            return Rejection(answer.reason)
        label = row["source"].partition(" ")[0]
        return (
            Rejection(label) if label in ("no", "bad", "code") else {**row, "target": answer.text}
        )

    def fault(self, before: Row, after: Row) -> str:
        return "" if after["target"].startswith(arabic(before["source"])) else "is wrong"


class Checked:
    """The part of a stage that a commit needs."""

    def __init__(self, work: RowJob) -> None:
        self.work = work

    def check(self, unit: int, folder: Path) -> UnitCounts:
        return check_corpus_unit(unit, folder, self.work)


def work_of(tmp_path: Path, texts: list[str], **work: Any) -> RowJob:
    corpus = write_corpus(tmp_path / "c", [pair(text, "") for text in texts])
    return RowJob(corpus, "c", UNITS, OneQuestion(), **work)


def out_of(tmp_path: Path, work: RowJob) -> PlainContext:
    return PlainContext(tmp_path, Checked(work))  # type: ignore[arg-type]


def run(tmp_path: Path, texts: list[str], **work: Any) -> tuple[PlainContext, StandInEngine]:
    what = work_of(tmp_path, texts, **work)
    out, engine = out_of(tmp_path, what), StandInEngine(stand_in_config(max_num_seqs=8))
    RowScheduler(engine, what, out).run(range(UNITS))
    return out, engine


def rows_of(out: PlainContext, *below: str) -> list[Row]:
    parts = [out.folder(unit).joinpath(*below) / part_name(unit) for unit in range(UNITS)]
    return [row for part in parts for row in read_part(part)]


def test_rows_come_out_in_the_order_of_the_corpus(tmp_path: Path) -> None:
    texts = [f"text {number}" + " and more" * (number * 7 % 13) for number in range(200)]
    out, engine = run(tmp_path, texts)
    assert [row["source"] for row in rows_of(out)] == texts
    # 200 answers, 8 a step, and units do not wait for each other.
    assert engine.steps == 25
    assert not list((tmp_path / "kept").iterdir())


def test_a_row_that_needs_too_much_memory_is_set_aside_alone(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(100)]
    texts[42] = TOO_MUCH.decode()
    out, engine = run(tmp_path, texts)
    assert [row["source"] for row in rows_of(out)] == texts[:42] + texts[43:]
    lost = rows_of(out, REJECTED)
    assert [(row["reason"], row["line"], row["source"]) for row in lost] == [
        (OUT_OF_MEMORY, 43, texts[42])
    ]
    # Fewer and fewer at once until it is found, then half of what there was.
    assert engine.sizes == [8, 2, 1, 4]


def test_retries_are_counted_by_their_reason(tmp_path: Path) -> None:
    out, _ = run(tmp_path, ["what?"] * 1 + [f"text {number}" for number in range(19)])
    assert out.facts is not None
    first = check_corpus_unit(0, out.folder(0), out.stage.work)  # type: ignore[attr-defined]
    assert first.details["again:unsure"] == 1
    assert first.details["texts"] == 6


def test_a_run_that_mostly_rejects_stops_early(tmp_path: Path) -> None:
    texts = [f"{'bad' if number % 3 else 'good'} {number}" for number in range(3000)]
    with pytest.raises(
        UserError, match=r"max_rejected_fraction=0.5: \d+ of the first 1\d\d\d rows "
    ) as caught:
        run(tmp_path, texts, max_rejected_fraction=0.5)
    assert caught.value.code == BAD_DATA


class Mortal(StandInEngine):
    """Ends its process, as a kill does, after 80 steps."""

    def step(self) -> list[Completion]:
        if self.steps == 80:
            raise KeyboardInterrupt
        return super().step()


def test_what_an_attempt_before_rejected_counts_as_well(tmp_path: Path) -> None:
    texts = [f"{'bad' if number % 3 else 'good'} {number}" for number in range(3000)]
    work = work_of(tmp_path, texts, max_rejected_fraction=0.5)
    engine = Mortal(stand_in_config(max_num_seqs=8))
    with pytest.raises(KeyboardInterrupt):
        RowScheduler(engine, work, out_of(tmp_path, work), commit_interval_s=0.01).run(range(UNITS))
    second = StandInEngine(stand_in_config(max_num_seqs=8))
    with pytest.raises(EarlyStop, match=r"of the first 1\d\d\d rows "):
        RowScheduler(second, work, out_of(tmp_path, work)).run(range(UNITS))


def test_rejections_that_are_wanted_stop_nothing(tmp_path: Path) -> None:
    texts = [f"no {number}" for number in range(1200)]
    out, _ = run(tmp_path, texts, max_rejected_fraction=0.1)
    assert len(rows_of(out, REJECTED)) == 1200


def test_rows_that_are_the_cause_themselves_are_counted_apart(tmp_path: Path) -> None:
    texts = [["code 1", "bad 2", "bad 3", "good 4", "no 5"][number % 5] for number in range(50)]
    out, _ = run(tmp_path, [f"{text} {number}" for number, text in enumerate(texts)])
    work: RowJob = out.stage.work  # type: ignore[attr-defined]
    markers = [out.markers[unit] for unit in range(UNITS)]
    assert sum(marker.rows_rejected for marker in markers) == 40
    # What the task leaves out, and what no model could translate.
    assert sum(marker.rows_rejected_content for marker in markers) == 20
    folders = [out.folder(unit) for unit in range(UNITS)]
    details = collect_corpus(markers, folders, tmp_path / "all", work)
    assert details["rejected_content"] == {"code": 10, "no": 10}
    assert details["rejected_faults"] == {"bad": 20}
    with pytest.raises(UserError) as caught:
        collect_corpus(markers, folders, tmp_path / "all", replace(work, max_rejected_fraction=0.5))
    assert "30 of 50 rows are rejected (bad 20; for their content: code 10)" in str(caught.value)
