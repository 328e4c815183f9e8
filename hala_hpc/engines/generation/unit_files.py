"""The files of a unit of generated rows: written by its worker, read back before it counts.

`part-00007.parquet` has the rows that came out, `rejected/part-00007.parquet` the rows of the
input that did not, with `reason`, what the model `said`, and `line`, their number in the corpus
from 1. The folder `rejected` is a corpus of its own, so that its rows can be run again.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, INTERNAL, UserError
from hala_hpc.core.files import link_tree
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.stage import Facts
from hala_hpc.data.corpus.reader import REJECTED, Row, corpus_kind, part_name, part_note, read_part
from hala_hpc.data.corpus.writer import CorpusWriter
from hala_hpc.engines.generation.rejection_cause import Cause
from hala_hpc.engines.generation.row_program import Rejection, Work
from hala_hpc.engines.generation.unit_costs import Costs
from hala_hpc.engines.generation.unit_state import OpenUnit

REJECTED_COLUMNS = {"reason": "string", "said": "string", "line": "int64"}
#: What a unit cost stands in the footer of its part.
COSTS = "hala.costs"


def write_unit(folder: Path, unit: OpenUnit, work: Work) -> None:
    """Write the rows and rejected rows of a unit in the order of its input."""
    name, task = part_name(unit.number), work.task
    rejected = {**REJECTED_COLUMNS, **task.extra}
    before = work.index.read(unit.first, unit.first + unit.rows)
    with (
        CorpusWriter(folder / name, task.kind, task.extra) as good,
        CorpusWriter(folder / REJECTED / name, corpus_kind(work.corpus), rejected) as bad,
    ):
        for row, finished in zip(before, unit.pieces.results(), strict=True):
            number, result = unit.first + finished.index + 1, finished.result
            require(row["id"] == finished.id_, unit.number, number, "is another row")
            if isinstance(result, Rejection):
                why = {"reason": result.reason, "said": result.said}
                more = {column: result.more.get(column) for column in task.extra}
                bad.add({**row, **why, **more, "line": number})
            else:
                good.add(result)
        good.note(COSTS, unit.pieces.costs.to_json())


def check_unit(unit: int, folder: Path, work: Work) -> Facts:
    """Hold the files of a unit against its input, row by row.

    Raises UserError (70) when a row was lost, made up, moved or damaged.
    """
    first, last = work.range_of(unit)
    part = folder / part_name(unit)
    rejected = read_rejected(folder / REJECTED / part_name(unit))
    made = read_part(part)
    rows_out = rows_in = 0
    for number, before in enumerate(work.index.read(first, last), start=first + 1):
        rows_in += 1
        if number in rejected:
            require(rejected[number][0] == before["id"], unit, number, "rejected another row")
            continue
        after: Row = next(made, {})
        require(after.get("id") == before["id"], unit, number, "is missing or out of order")
        fault = work.task.fault(before, after)
        require(not fault, unit, number, fault)
        rows_out += 1
    require(next(made, None) is None, unit, last, "is followed by rows that nobody asked for")
    costs = Costs.from_json(part_note(part, COSTS))
    reasons = Counter(reason for _, reason in rejected.values())
    return Facts(
        rows_in=rows_in,
        rows_out=rows_out,
        rows_rejected=len(rejected),
        rows_rejected_content=sum(by_cause(reasons, work)[Cause.CONTENT].values()),
        rejected=dict(reasons),
        tokens_in=costs.tokens_in,
        tokens_out=costs.tokens_out,
        details=replace(costs, tokens_in=0, tokens_out=0).to_values(),
    )


def read_rejected(path: Path) -> dict[int, tuple[str, str]]:
    """Id and reason of every rejected row, by its number in the corpus from 1."""
    rows = read_part(path, ["id", "reason", "line"])
    return {row["line"]: (row["id"], row["reason"]) for row in rows}


def require(good: bool, unit: int, row: int, fault: str) -> None:
    """Raise UserError (70) that names unit and row unless all is good."""
    if not good:
        raise UserError(f"unit {unit}, row {row} of its corpus: {fault}; not marked", INTERNAL)


def collect_units(
    marks: list[UnitMarker], folders: list[Path], output: Path, work: Work
) -> dict[str, Any]:
    """Gather the corpus of all units; returns rejected rows by cause, texts, retries and speed.

    Raises UserError (65) when more rows were rejected than may be.
    """
    require_good(marks, folders, work)
    for folder in folders:
        link_tree(folder, output)
    costs = Costs()
    for mark in marks:
        costs.add(Costs.from_values(mark.details))
    tokens = sum(mark.tokens_out for mark in marks)
    causes = by_cause(rejected_in(marks), work)
    return {
        "rejected_content": causes[Cause.CONTENT],
        "rejected_faults": causes[Cause.FAULT],
        "texts": costs.texts,
        "texts_reused": costs.texts_reused,
        "asked_again": dict(costs.again),
        # Seconds of all workers together, the starts of their engines left out.
        "seconds": round(costs.seconds, 2),
        "tokens_per_s": round(tokens / max(costs.seconds, 1e-3), 1),
    }


def by_cause(reasons: Counter[str], work: Work) -> dict[Cause, dict[str, int]]:
    """Rejected rows by reason, those that are themselves the cause apart; the most first."""
    return {
        cause: {word: many for word, many in reasons.most_common() if work.cause_of(word) is cause}
        for cause in Cause
    }


def listed(reasons: dict[str, int]) -> str:
    """Reasons with their rows, for people."""
    return ", ".join(f"{word} {many}" for word, many in reasons.items())


def rejected_in(marks: list[UnitMarker]) -> Counter[str]:
    """Rejected rows of all units by reason."""
    return sum((Counter(mark.rejected) for mark in marks), Counter[str]())


def require_good(marks: list[UnitMarker], folders: list[Path], work: Work) -> None:
    """Raise UserError (65) when the share of rows rejected for unwanted reasons is too large."""
    reasons = rejected_in(marks)
    bad = Counter({word: many for word, many in reasons.items() if work.is_trouble(word)})
    rows = sum(mark.rows_in for mark in marks)
    if sum(bad.values()) <= work.max_rejected_fraction * rows:
        return
    causes = by_cause(bad, work)
    listing = listed(causes[Cause.FAULT])
    if causes[Cause.CONTENT]:
        # Another model or prompt would not have them either.
        listing += f"{listing and '; '}for their content: {listed(causes[Cause.CONTENT])}"
    raise UserError(
        f"{work.name}: {sum(bad.values())} of {rows} rows are rejected ({listing}), "
        f"max_rejected_fraction is {work.max_rejected_fraction}; they are in {REJECTED}/ under "
        f"{folders[0].parent}; mend the model, the prompt or the checks, or raise "
        "max_rejected_fraction",
        BAD_DATA,
    )
