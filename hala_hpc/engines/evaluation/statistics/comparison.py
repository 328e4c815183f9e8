"""Compare models with a first one, task by task: all rows of a table are one family of tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from zlib import crc32

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.evaluation.statistics.detectable import smallest_detectable
from hala_hpc.engines.evaluation.statistics.paired import (
    RESAMPLES,
    difference_interval,
    mean_difference,
    paired_p_value,
)
from hala_hpc.engines.evaluation.statistics.task_items import PairedTask, TaskItems, pair_items

#: Probability that a table of equal models shows any difference as significant.
FAMILY_LEVEL = 0.05
#: Name of the row with the unweighted mean of all tasks.
MACRO_MEAN = "mean"


class DifferenceVerdict(StrEnum):
    """Result of a comparison."""

    HIGHER = "higher"
    LOWER = "lower"
    NOT_RESOLVABLE = "not resolvable"


@dataclass(frozen=True)
class Comparison:
    """One row: a model against the first one, in a task or in the mean of all tasks."""

    label: str
    task: str
    difference: float
    """Score of the model minus that of the first, in the unit of the scores."""
    low: float
    high: float
    """Its 95 % bootstrap interval, of this row alone."""
    adjusted_p_value: float
    """By Holm's method over all rows of the table; significant up to `FAMILY_LEVEL`."""
    detectable: float | None
    """The smallest true difference that this row of this table finds with a power of 80 %."""

    @property
    def verdict(self) -> DifferenceVerdict:
        """Higher or lower if the difference is significant in its table."""
        if self.adjusted_p_value > FAMILY_LEVEL:
            return DifferenceVerdict.NOT_RESOLVABLE
        return DifferenceVerdict.HIGHER if self.difference > 0 else DifferenceVerdict.LOWER


@dataclass(frozen=True)
class TableRow:
    """A row before it is tested: the pairs of one task, or those of all tasks for their mean."""

    label: str
    task: str
    pairs: Sequence[PairedTask]

    @property
    def seed(self) -> int:
        """Seed of the row's random draws: the same in every run."""
        return crc32(f"{self.label}/{self.task}".encode())


def compare_models(
    first: Sequence[TaskItems],
    others: Mapping[str, Sequence[TaskItems]],
    resamples: int = RESAMPLES,
) -> list[Comparison]:
    """Compare each model with the first in each task and, if there are several, in their mean.

    Raises: UserError (BAD_DATA) if a model lacks a task, or its items are not those of the first.
    """
    return compare_rows(pair_models(first, others), resamples)


def compare_rows(rows: Sequence[TableRow], resamples: int = RESAMPLES) -> list[Comparison]:
    """Test the rows of a table, all of them as one family."""
    return [
        Comparison(
            row.label,
            row.task,
            mean_difference(row.pairs),
            *difference_interval(row.pairs, row.seed, resamples),
            adjusted_p_value=p_value,
            detectable=detectable_in_table(row, rows),
        )
        for row, p_value in zip(rows, adjusted_p_values(rows, resamples), strict=True)
    ]


def adjusted_p_values(rows: Sequence[TableRow], resamples: int = RESAMPLES) -> list[float]:
    """The p-value of each row, adjusted for all rows of the table."""
    return adjust_by_holm([paired_p_value(row.pairs, row.seed, resamples) for row in rows])


def detectable_in_table(row: TableRow, rows: Sequence[TableRow]) -> float | None:
    """The smallest true difference that a row of this table finds with a power of 80 %."""
    # The first of Holm's steps is at this level: a single difference has to pass it.
    return smallest_detectable(row.pairs, FAMILY_LEVEL / len(rows))


def pair_models(
    first: Sequence[TaskItems], others: Mapping[str, Sequence[TaskItems]]
) -> list[TableRow]:
    """The rows of a table of all models.

    Raises: UserError (BAD_DATA) if a model lacks a task, or its items are not those of the first.
    """
    return [
        TableRow(label, name, pairs)
        for label, tasks in others.items()
        for name, pairs in pair_table(label, first, tasks)
    ]


def pair_table(
    label: str, first: Sequence[TaskItems], second: Sequence[TaskItems]
) -> list[tuple[str, list[PairedTask]]]:
    """The rows of one model: each task, then the mean of all if there are several."""
    by_task = {items.task: items for items in second}
    if by_task.keys() != {items.task for items in first}:
        missing = sorted(by_task.keys() ^ {items.task for items in first})
        raise UserError(
            f"{label}: only one of both models has {', '.join(missing)}; "
            "compare models that were evaluated in the same tasks",
            BAD_DATA,
        )
    pairs = [pair_items(items, by_task[items.task]) for items in first]
    rows = [(pair.task, [pair]) for pair in pairs]
    return [*rows, (MACRO_MEAN, pairs)] if len(pairs) > 1 else rows


def adjust_by_holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979), in the order of the given ones."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
