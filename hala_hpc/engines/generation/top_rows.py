"""Keeps the rows with the best scores in the output, out of those that all units accepted."""

from collections.abc import Iterable, Sequence
from math import inf
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.data.corpus.reader import (
    REJECTED,
    Row,
    count_rows,
    list_parts,
    part_name,
    read_batches,
    read_part,
)
from hala_hpc.data.corpus.writer import CorpusWriter
from hala_hpc.engines.generation.row_program import RowJob
from hala_hpc.engines.generation.unit_files import REJECTED_COLUMNS

#: Bins of a histogram of scores from 0 to 1.
BINS = 20
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


class BestRows:
    """Decides for one row after the other, in the order of the corpus, whether it is kept.

    If several rows have the lowest score that is kept, the first are kept. So the share is met
    exactly, and the result is the same every time.
    """

    def __init__(self, scores: Sequence[float], share: float) -> None:
        import numpy as np

        self.count = round(share * len(scores))
        edge, above = inf, 0
        if self.count:
            edge = float(np.partition(scores, -self.count)[-self.count])
            above = int((np.asarray(scores) > edge).sum())
        self.lowest = edge
        """Lowest score that is kept; infinite if none is."""
        self._at_edge = self.count - above

    def keep(self, score: float) -> bool:
        """Whether the next row is kept."""
        if score == self.lowest and self._at_edge:
            self._at_edge -= 1
            return True
        return score > self.lowest


def read_corpus_scores(*corpora: Path) -> Any:
    """Read the scores of all rows that have one, as an array in the order of the corpora."""
    import numpy as np

    every = [part for corpus in corpora for part in list_parts(corpus)]
    columns = (batch.column("score") for part in every for batch in read_batches(part, ["score"]))
    found = [column.drop_null().to_numpy() for column in columns]
    return np.concatenate([np.empty(0), *found])


def summarize_scores(scores: Any) -> dict[str, Any]:
    """Summarize scores: count, mean, quantiles, and a histogram of equal bins from 0 to 1."""
    import numpy as np

    scores = np.asarray(scores)
    if not len(scores):
        return {"rows": 0}
    counts, _ = np.histogram(scores, bins=BINS, range=(0.0, 1.0))
    values: Any = np.quantile(scores, QUANTILES)
    return {
        "rows": len(scores),
        "mean": round(float(scores.mean()), 4),
        "quantiles": {
            f"{share:g}": round(float(value), 4)
            for share, value in zip(QUANTILES, values, strict=True)
        },
        "histogram": counts.tolist(),
    }


def keep_best_rows(output: Path, work: RowJob, best: BestRows, reason: str) -> int:
    """Move all but the best rows of an output to its rejected ones; returns how many.

    Raises: UserError (INTERNAL) if the output does not have as many rows as it must.
    """
    before = count_rows(output)
    for unit in range(work.units):
        split_part(output, part_name(unit), work, best, (unit, reason))
    if count_rows(output) != best.count:
        raise UserError(
            f"{count_rows(output)} of {before} rows are left, expected {best.count}", INTERNAL
        )
    return before - best.count


def split_part(
    output: Path, name: str, work: RowJob, best: BestRows, unit_and_reason: tuple[int, str]
) -> None:
    """Rewrite the two files of a unit; both stay in the order of the corpus.

    Their names in the output are links to the unit's own files, which are not changed.
    """
    unit, reason = unit_and_reason
    extra, has_fields = work.extra, work.index.has_fields
    lost = iter(read_part(output / REJECTED / name))
    with (
        CorpusWriter(output / name, work.task.kind, extra, has_fields=has_fields) as good,
        CorpusWriter(
            output / REJECTED / name,
            work.task.kind,
            {**REJECTED_COLUMNS, **extra},
            has_fields=has_fields,
        ) as bad,
    ):
        number, next_lost = work.range_of(unit)[0] + 1, next(lost, None)
        for row in read_part(output / name):
            while next_lost and next_lost["line"] == number:
                bad.add(next_lost)
                number, next_lost = number + 1, next(lost, None)
            if best.keep(row["score"]):
                good.add(row)
            else:
                bad.add({**row, "reason": reason, "said": row["verdict"], "line": number})
            number += 1
        add_all(bad, next_lost, lost)


def add_all(writer: CorpusWriter, first: Row | None, rest: Iterable[Row]) -> None:
    """Add a row that was read ahead, if any, and those after it."""
    if first:
        writer.add(first)
    for row in rest:
        writer.add(row)
