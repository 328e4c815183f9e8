"""The files of a unit of generated rows: written by its worker, read back before the marker.

`part-00007.parquet` has the output rows. `rejected/part-00007.parquet` has the rejected input rows
with `reason`, the response of the model (`said`), and `line`, their number in the corpus from 1.
The folder `rejected` is a corpus of its own, so that its rows can be run again.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, INTERNAL, UserError
from hala_hpc.core.files import link_tree
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.stage import UnitCounts
from hala_hpc.data.corpus.reader import (
    REJECTED,
    Row,
    corpus_kind,
    part_name,
    read_part,
    read_part_note,
)
from hala_hpc.data.corpus.writer import CorpusWriter
from hala_hpc.engines.generation.rejection_cause import RejectionCause
from hala_hpc.engines.generation.row_program import Rejection, RowJob
from hala_hpc.engines.generation.unit_costs import Costs
from hala_hpc.engines.generation.unit_state import UnitInProgress

REJECTED_COLUMNS = {"reason": "string", "said": "string", "line": "int64"}
#: Key of the unit's costs in the footer of its part.
COSTS = "hala.costs"


def write_unit(folder: Path, unit: UnitInProgress, work: RowJob) -> None:
    """Write the rows and rejected rows of a unit in the order of its input."""
    name, task = part_name(unit.number), work.task
    extra = work.extra
    rejected = {**REJECTED_COLUMNS, **extra}
    no_figures = dict.fromkeys(work.index.figures)  # of rows from a shard without them
    before = work.index.read(unit.first, unit.first + unit.rows)
    with (
        CorpusWriter(folder / name, task.kind, extra, has_fields=work.index.has_fields) as good,
        CorpusWriter(
            folder / REJECTED / name,
            corpus_kind(work.corpus),
            rejected,
            has_fields=work.index.has_fields,
        ) as bad,
    ):
        for row, finished in zip(before, unit.journal.results(), strict=True):
            number, result = unit.first + finished.index + 1, finished.result
            require_row(row["id"] == finished.id_, unit.number, number, "is another row")
            if isinstance(result, Rejection):
                outcome = {"reason": result.reason, "said": result.response}
                extra_values = {column: result.extra_values.get(column) for column in task.extra}
                bad.add({**no_figures, **row, **outcome, **extra_values, "line": number})
            else:
                good.add({**no_figures, **result})
        good.note(COSTS, unit.journal.costs.to_json())


def check_corpus_unit(unit: int, folder: Path, work: RowJob) -> UnitCounts:
    """Compare the files of a unit with its input, row by row.

    Raises: UserError (INTERNAL) if a row was lost, made up, moved or damaged.
    """
    first, last = work.range_of(unit)
    part = folder / part_name(unit)
    rejected = read_rejected(folder / REJECTED / part_name(unit))
    made = read_part(part)
    rows_out = rows_in = 0
    for number, before in enumerate(work.index.read(first, last), start=first + 1):
        rows_in += 1
        if number in rejected:
            require_row(rejected[number][0] == before["id"], unit, number, "rejected another row")
            continue
        after: Row = next(made, {})
        require_row(after.get("id") == before["id"], unit, number, "is missing or out of order")
        fault = work.task.fault(before, after)
        require_row(not fault, unit, number, fault)
        rows_out += 1
    require_row(next(made, None) is None, unit, last, "is followed by rows beyond the input")
    costs = Costs.from_json(read_part_note(part, COSTS))
    reasons = Counter(reason for _, reason in rejected.values())
    return UnitCounts(
        rows_in=rows_in,
        rows_out=rows_out,
        rows_rejected=len(rejected),
        rows_rejected_content=sum(group_by_cause(reasons, work)[RejectionCause.CONTENT].values()),
        rejected=dict(reasons),
        tokens_in=costs.tokens_in,
        tokens_out=costs.tokens_out,
        details=replace(costs, tokens_in=0, tokens_out=0).to_values(),
    )


def read_rejected(path: Path) -> dict[int, tuple[str, str]]:
    """Read id and reason of every rejected row, by its number in the corpus from 1."""
    rows = read_part(path, ["id", "reason", "line"])
    return {row["line"]: (row["id"], row["reason"]) for row in rows}


def require_row(good: bool, unit: int, row: int, fault: str) -> None:
    """Raise UserError (INTERNAL) that names unit and row, unless `good`."""
    if not good:
        raise UserError(
            f"unit {unit}, row {row} of its corpus: {fault}; the unit gets no marker", INTERNAL
        )


def collect_corpus(
    markers: list[UnitMarker], folders: list[Path], output: Path, work: RowJob
) -> dict[str, Any]:
    """Link the parts of all units into the output; returns rejections, texts, retries and speed.

    Raises: UserError (BAD_DATA) if more rows were rejected than allowed.
    """
    check_rejected_fraction(markers, folders, work)
    for folder in folders:
        link_tree(folder, output)
    costs = Costs()
    for marker in markers:
        costs.add(Costs.from_values(marker.details))
    tokens = sum(marker.tokens_out for marker in markers)
    causes = group_by_cause(sum_rejections(markers), work)
    return {
        "rejected_content": causes[RejectionCause.CONTENT],
        "rejected_faults": causes[RejectionCause.FAULT],
        "texts": costs.texts,
        "texts_reused": costs.texts_reused,
        "asked_again": dict(costs.retries),
        "texts_kept": dict(costs.untranslated),
        # Seconds of all workers together, without the starts of their engines.
        "seconds": round(costs.seconds, 2),
        "tokens_per_s": round(tokens / max(costs.seconds, 1e-3), 1),
    }


def group_by_cause(reasons: Counter[str], work: RowJob) -> dict[RejectionCause, dict[str, int]]:
    """Group rejected rows by cause, then by reason; the most frequent reason first."""
    return {
        cause: {
            reason: many for reason, many in reasons.most_common() if work.cause_of(reason) is cause
        }
        for cause in RejectionCause
    }


def format_reasons(reasons: dict[str, int]) -> str:
    """Format reasons with their number of rows for a message."""
    return ", ".join(f"{reason} {many}" for reason, many in reasons.items())


def sum_rejections(markers: list[UnitMarker]) -> Counter[str]:
    """Sum the rejected rows of all units by reason."""
    return sum((Counter(marker.rejected) for marker in markers), Counter[str]())


def check_rejected_fraction(markers: list[UnitMarker], folders: list[Path], work: RowJob) -> None:
    """Raise UserError (BAD_DATA) if too many rows are rejected for unexpected reasons."""
    reasons = sum_rejections(markers)
    bad = Counter(
        {reason: many for reason, many in reasons.items() if work.counts_against_limit(reason)}
    )
    rows = sum(marker.rows_in for marker in markers)
    if sum(bad.values()) <= work.max_rejected_fraction * rows:
        return
    causes = group_by_cause(bad, work)
    listing = format_reasons(causes[RejectionCause.FAULT])
    if causes[RejectionCause.CONTENT]:
        # Another model or prompt would not accept them either.
        listing += (
            f"{listing and '; '}for their content: {format_reasons(causes[RejectionCause.CONTENT])}"
        )
    raise UserError(
        f"{work.name}: max_rejected_fraction={work.max_rejected_fraction}: {sum(bad.values())} of "
        f"{rows} rows are rejected ({listing}); they are in {REJECTED}/ under "
        f"{folders[0].parent}; fix the model, the prompt or the checks, or raise "
        "max_rejected_fraction",
        BAD_DATA,
    )
