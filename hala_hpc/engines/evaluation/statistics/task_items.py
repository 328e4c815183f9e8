"""The outcomes of a task's items for one model, and their pairs for two models."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hala_hpc.core.errors import BAD_DATA, UserError


@dataclass(frozen=True)
class TaskItems:
    """The score of each item of a task for one model, in the order of the task.

    Raises: UserError (BAD_DATA) without items, for a score that is not finite, and for columns of
    different lengths.
    """

    task: str
    hashes: Sequence[str]
    """Hash of document, prompt and target of each item; two items with equal hashes are a pair."""
    values: Sequence[float]
    """Score of each item; 0 and 1 for wrong and correct."""
    clusters: Sequence[str] | None = None
    """Passage or subject of each item, if items share one; None if items are independent."""
    weight: float = 1.0
    """Weight of the task in a mean of several, relative to the other tasks."""

    def __post_init__(self) -> None:
        """Check the columns."""
        if not len(self.values):
            raise UserError(f"{self.task}: no items; leave the task out or give it data", BAD_DATA)
        lengths = {len(self.hashes), len(self.values), len(self.clusters or self.values)}
        if len(lengths) > 1:
            raise UserError(
                f"{self.task}: {len(self.values)} scores, {len(self.hashes)} hashes, "
                f"{len(self.clusters or ())} clusters; give one of each per item",
                BAD_DATA,
            )
        bad = sum(not math.isfinite(value) for value in self.values)
        if bad:
            raise UserError(
                f"{self.task}: {bad} of {len(self.values)} scores are NaN or infinite; "
                "evaluate the task again, or exclude these items for all models",
                BAD_DATA,
            )


@dataclass(frozen=True)
class PairedTask:
    """Differences of two models on the same items: score of the second minus that of the first."""

    task: str
    differences: Sequence[float]
    clusters: Sequence[str] | None = None
    weight: float = 1.0
    """Weight of the task in a mean of several, relative to the other tasks."""

    @property
    def is_sign_test(self) -> bool:
        """Whether items are independent, and each is won, lost or equal: McNemar's case."""
        return self.clusters is None and set(self.differences) <= {-1.0, 0.0, 1.0}

    def count_discordant(self) -> tuple[int, int]:
        """Number of items that the second model wins, and that it loses."""
        gains = sum(difference > 0 for difference in self.differences)
        return gains, sum(difference < 0 for difference in self.differences)


def pair_items(first: TaskItems, second: TaskItems) -> PairedTask:
    """Pair two models' items of one task.

    Raises: UserError (BAD_DATA) if tasks, number of items, hashes or clusters differ: then the
    models did not answer the same questions.
    """
    if first.task != second.task:
        raise UserError(f"{first.task} cannot be paired with {second.task}", BAD_DATA)
    if len(first.hashes) != len(second.hashes):
        raise UserError(
            f"{first.task}: {len(first.hashes)} items cannot be paired with {len(second.hashes)}; "
            "evaluate both models with the same limit",
            BAD_DATA,
        )
    differ = sum(a != b for a, b in zip(first.hashes, second.hashes, strict=True))
    if differ or list(first.clusters or ()) != list(second.clusters or ()):
        raise UserError(
            f"{first.task}: {differ} of {len(first.hashes)} items have other documents, prompts or "
            "targets, or other clusters; evaluate both models with the same files and settings",
            BAD_DATA,
        )
    values = zip(first.values, second.values, strict=True)
    differences = [float(b) - float(a) for a, b in values]
    return PairedTask(first.task, differences, first.clusters, first.weight)


def weights_of(tasks: Sequence[TaskItems] | Sequence[PairedTask]) -> list[float]:
    """The weight of each task in their mean; all together are 1."""
    total = math.fsum(task.weight for task in tasks)
    return [task.weight / total for task in tasks]
