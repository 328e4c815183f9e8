"""Finished rows of a unit survive a kill, count once, and are redone if damaged."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from corpora import pair, write_corpus
from plain_out import PlainContext
from standin_engine import StandInEngine, arabic, stand_in_config

from hala_hpc.core.stage import UnitCounts
from hala_hpc.data.corpus.reader import REJECTED, Kind, Row, part_name
from hala_hpc.engines.generation.engine import Completion
from hala_hpc.engines.generation.journal_segment import FinishedRow
from hala_hpc.engines.generation.row_program import Prompt, Rejection, RowJob, RowProgram
from hala_hpc.engines.generation.row_scheduler import RowScheduler
from hala_hpc.engines.generation.unit_costs import Costs
from hala_hpc.engines.generation.unit_files import check_corpus_unit
from hala_hpc.engines.generation.unit_state import UnitJournal

UNITS, ROWS, SEQS = 3, 90, 4


class Killed(Exception):
    """Stands for a kill: nothing after it is done."""


class Mortal(StandInEngine):
    """Dies after so many steps; `asked` has its prompts until then."""

    def __init__(self, steps: int | None = None) -> None:
        super().__init__(stand_in_config(max_num_seqs=SEQS))
        self.max_steps, self.asked = steps, list[str]()

    def step(self) -> list[Completion]:
        if self.steps == self.max_steps:
            raise Killed
        before = dict(self.held)
        completions = super().step()
        self.asked += [bytes(before[c.key].ids).decode() for c in completions]
        return completions


class Shout:
    """Prompts once for most rows, twice for some; some are rejected."""

    kind: Kind = "pairs"
    wanted: frozenset[str] | None = None

    def __init__(self) -> None:
        self.extra = {"score": "double"}

    def fit(self, _room: int, _count: Callable[[str], int]) -> None:
        pass

    def program(self, row: Row) -> RowProgram:
        answer = (yield [Prompt(row["source"])])[0]
        if "5" in row["source"]:
            answer = (yield [Prompt(row["source"] + "!", retry_reason="five")])[0]
        if row["source"].endswith("3"):
            return Rejection("three", answer.text, {"score": 1 / 3})
        return {**row, "target": answer.text, "score": len(answer.text) / 7}

    def fault(self, before: Row, after: Row) -> str:
        return "" if after["target"].startswith(arabic(before["source"])) else "is wrong"


class Checked:
    """The part of a stage that a commit needs."""

    def __init__(self, work: RowJob) -> None:
        self.work = work

    def check(self, unit: int, folder: Path) -> UnitCounts:
        return check_corpus_unit(unit, folder, self.work)


class Out(PlainContext):
    """Stores the counts of every unit, and commits none a second time."""

    def __init__(self, base: Path, work: RowJob) -> None:
        super().__init__(base, Checked(work))  # type: ignore[arg-type]
        self.made: dict[int, UnitCounts] = {}

    def commit(self, unit: int) -> None:
        super().commit(unit)
        assert self.facts is not None
        self.made[unit] = self.facts


@pytest.fixture
def work(tmp_path: Path) -> RowJob:
    # Line ends of all kinds and other scripts, as texts have them.
    rows = [pair(f"line {n}\r\n\u2028 ok é {'x' * (n % 11)} {n}", "") for n in range(ROWS)]
    return RowJob(write_corpus(tmp_path / "c", rows), "c", UNITS, Shout())


def attempt(base: Path, work: RowJob, engine: Mortal, units: list[int] | None = None) -> Out:
    """An attempt that writes a segment after every step, ended by its engine or by itself."""
    out = Out(base, work)
    feed = RowScheduler(engine, work, out, commit_interval_s=1e-9)
    with suppress(Killed):
        feed.run(units or range(UNITS))
    return out


def tables(out: PlainContext) -> list[Any]:
    """All Parquet files as Arrow tables."""
    import pyarrow.parquet as pq

    folders = [out.folder(unit) for unit in range(UNITS)]
    parts = [folder / part_name(unit) for unit, folder in enumerate(folders)]
    lost = [folder / REJECTED / part_name(unit) for unit, folder in enumerate(folders)]
    return [pq.read_table(path) for path in (*parts, *lost)]


def segments(base: Path, unit: int = 0) -> list[Path]:
    return sorted((base / "kept" / str(unit)).glob("piece-*"))


def test_a_killed_unit_goes_on_to_the_same_rows(work: RowJob, tmp_path: Path) -> None:
    calm = Mortal()
    whole = attempt(tmp_path / "whole", work, calm)
    assert [facts.rows_in for facts in whole.made.values()] == [ROWS // UNITS] * UNITS
    for steps in (1, 5, 11, 20):
        base, first, second = tmp_path / f"killed-{steps}", Mortal(steps), Mortal()
        done = attempt(base, work, first).made
        rest = attempt(base, work, second, [unit for unit in range(UNITS) if unit not in done])
        for made, right in zip(tables(rest), tables(whole), strict=True):
            assert made.equals(right)
        # All was committed but first answers of rows that have two prompts.
        repeated = set(first.asked) & set(second.asked)
        assert all("5" in text and not text.endswith("!") for text in repeated)
        assert set(first.asked) | set(second.asked) == set(calm.asked)
        assert not list((base / "kept").iterdir())


def test_a_whole_unit_that_was_not_yet_committed_asks_nothing(work: RowJob, tmp_path: Path) -> None:
    class Unlucky(Out):
        def commit(self, unit: int) -> None:
            raise Killed(unit)

    with pytest.raises(Killed):
        RowScheduler(Mortal(), work, Unlucky(tmp_path, work), commit_interval_s=1e-9).run([0])
    finished = UnitJournal(tmp_path / "kept" / "0", ROWS // UNITS, "later").finished
    repeated = Mortal()
    assert attempt(tmp_path, work, repeated, [0]).made[0].rows_in == ROWS // UNITS
    # The last row was in memory only.
    assert len(repeated.asked) <= ROWS // UNITS - finished + SEQS


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "no end", "another row"])
def test_a_damaged_segment_is_ignored_and_its_rows_are_redone(
    damage: str, work: RowJob, tmp_path: Path
) -> None:
    attempt(tmp_path, work, Mortal(4), [0])
    first, second, *_ = segments(tmp_path)
    data = second.read_bytes()
    held = [json.loads(line)["index"] for line in data.splitlines()[:-1]]
    second.write_bytes(
        {
            "cut": data[: len(data) // 2],
            "flipped": data.replace(b"line", b"lime", 1),
            "empty": b"",
            "no end": b"".join(data.splitlines(keepends=True)[:-1]),
            "another row": data.replace(b'"index": ', b'"index": 1', 1),
        }[damage]
    )
    found = UnitJournal(second.parent, ROWS // UNITS, "later")
    assert [index for index in held if index in found] == []
    assert all(json.loads(line)["index"] in found for line in first.read_bytes().splitlines()[:-1])
    repeated = Mortal()
    out = attempt(tmp_path, work, repeated, [0])
    texts = [row["source"] for row in work.index.read(0, ROWS // UNITS)]
    assert {texts[index] for index in held} <= set(repeated.asked)
    assert out.made[0].rows_in == ROWS // UNITS


def row(index: int, target: str) -> Row:
    return {"id": f"{index}", "source": f"s{index}", "target": target}


def test_rows_that_two_attempts_finished_count_once_and_the_first_segment_wins(
    tmp_path: Path,
) -> None:
    one, two = UnitJournal(tmp_path, 6, "a"), UnitJournal(tmp_path, 6, "b")
    for holder, indices in ((two, (4, 1, 2)), (one, (0, 1, 2))):
        for index in indices:
            holder.add(index, f"{index}", row(index, holder.attempt))
        costs = {"texts": 3, "seconds": 0.5, f"again:{holder.attempt}": 1}
        holder.costs.add(Costs.from_values(costs))
        assert holder.write(lambda: None) == 3
    three = UnitJournal(tmp_path, 6, "c")
    three.add(5, "5", Rejection("no", "said", {"score": 0.1}))
    assert three.finished == 5
    assert list(three.results()) == [
        FinishedRow(0, "0", row(0, "a")),
        FinishedRow(1, "1", row(1, "a")),
        FinishedRow(2, "2", row(2, "a")),
        FinishedRow(4, "4", row(4, "b")),
        FinishedRow(5, "5", Rejection("no", "said", {"score": 0.1})),
    ]
    assert three.costs.to_values() == {"texts": 6, "seconds": 1.0, "again:a": 1, "again:b": 1}


def test_costs_of_all_attempts_add_up_and_none_counts_twice(work: RowJob, tmp_path: Path) -> None:
    counts = []
    for base, deaths in ((tmp_path / "whole", ()), (tmp_path / "killed", (2, 3, 1))):
        for steps in deaths:
            attempt(base, work, Mortal(steps), [0])
        facts = attempt(base, work, Mortal(), [0]).made[0]
        counts.append((facts.tokens_in, facts.tokens_out, facts.details))
        assert counts[-1][2].pop("seconds") > 0
    assert counts[0] == counts[1]
    assert counts[0][2]["texts"] > ROWS // UNITS


def test_an_attempt_that_is_fenced_while_it_writes_leaves_no_segment(tmp_path: Path) -> None:
    def fenced() -> None:
        # All but the name is done then.
        assert list(tmp_path.glob(".piece-*.tmp"))
        raise Killed

    held = UnitJournal(tmp_path, 2, "a")
    held.add(0, "0", row(0, "a"))
    with pytest.raises(Killed):
        held.write(fenced)
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_of_a_segment_is_removed_with_the_unit(tmp_path: Path) -> None:
    held = UnitJournal(tmp_path / "kept", 1, "a")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / ".piece-z-00000.jsonl.0123abcd.tmp").write_text('{"ind')
    assert UnitJournal(tmp_path / "kept", 1, "b").finished == 0
    held.add(0, "0", row(0, "a"))
    held.write(lambda: None)
    held.remove()
    assert list(tmp_path.iterdir()) == []
