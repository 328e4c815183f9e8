"""The files of a unit of generated rows: written by its worker, read back before it counts."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.files import link_tree, read_json, write_json
from hala_hpc.core.stage import Facts
from hala_hpc.data.corpus import Row, part_name, read_part, read_slice, rejected_name
from hala_hpc.data.corpus_writer import CorpusWriter, RejectWriter
from hala_hpc.engines.row_work import OpenUnit, Rejection, Work

#: What a unit counts besides its rows; sums over units go into the summary.
DETAILS = ("texts", "texts_reused", "seconds")


def counts_name(unit: int) -> str:
    """Name of the file that tells what a unit cost; it stays with the unit."""
    return f"counts-{unit:05d}.json"


def write_unit(folder: Path, unit: OpenUnit, work: Work, seconds: float) -> None:
    """Write the rows and rejected rows of a unit in the order of its input."""
    with (
        CorpusWriter(folder / part_name(unit.number), work.task.kind) as good,
        RejectWriter(folder / rejected_name(unit.number)) as bad,
    ):
        for index, result in enumerate(unit.results):
            assert result is not None
            if isinstance(result, Rejection):
                line = unit.first + index + 1
                bad.add(work.name, line, result.reason, unit.rows[index], said=result.said)
            else:
                good.add(result)
    names = ("texts", "texts_reused", "tokens_in", "tokens_out")
    counts = {name: getattr(unit, name) for name in names}
    write_json(folder / counts_name(unit.number), {**counts, "seconds": round(seconds, 3)})


def check_unit(unit: int, folder: Path, work: Work) -> Facts:
    """Hold the files of a unit against its input, row by row.

    Raises UserError (70) when a row was lost, made up, moved or damaged.
    """
    first, last = work.range_of(unit)
    rejected = read_rejected(folder / rejected_name(unit))
    made = read_part(folder / part_name(unit))
    rows_out = rows_in = 0
    for number, before in enumerate(read_slice(work.corpus, first, last), start=first + 1):
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
    counts = read_json(folder / counts_name(unit))
    return Facts(
        rows_in=rows_in,
        rows_out=rows_out,
        rows_rejected=len(rejected),
        rejected=dict(Counter(reason for _, reason in rejected.values())),
        tokens_in=counts["tokens_in"],
        tokens_out=counts["tokens_out"],
        details={name: counts[name] for name in DETAILS},
    )


def read_rejected(path: Path) -> dict[int, tuple[str, str]]:
    """Id and reason of every rejected row, by its number in the corpus from 1."""
    with path.open(encoding="utf-8") as file:
        values = [json.loads(line) for line in file]
    return {value["line"]: (value["row"]["id"], value["reason"]) for value in values}


def require(good: bool, unit: int, row: int, fault: str) -> None:
    """Raise UserError (70) that names unit and row unless all is good."""
    if not good:
        raise UserError(f"unit {unit}, row {row} of its corpus: {fault}; not marked", INTERNAL)


def collect_units(marks: list[dict[str, Any]], folders: list[Path], output: Path) -> dict[str, Any]:
    """Gather the corpus of all units; returns texts, seconds and speed for the summary."""
    for folder in folders:
        link_tree(folder, output)
    for path in output.glob("counts-*.json"):
        path.unlink()
    total: dict[str, Any] = {name: sum(mark["details"][name] for mark in marks) for name in DETAILS}
    tokens = sum(mark["tokens_out"] for mark in marks)
    # Seconds of all workers together, the starts of their engines left out.
    total["tokens_per_s"] = round(tokens / max(total["seconds"], 1e-3), 1)
    total["seconds"] = round(total["seconds"], 2)
    return total
