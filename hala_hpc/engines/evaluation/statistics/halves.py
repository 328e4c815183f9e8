"""Choose on one half of the items and report on the other.

The best of several arms on some items is partly the best by chance: its score there is too high.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.evaluation.statistics.comparison import (
    MACRO_MEAN,
    Comparison,
    TableRow,
    compare_rows,
)
from hala_hpc.engines.evaluation.statistics.intervals import (
    MeanInterval,
    macro_interval,
    mean_interval,
)
from hala_hpc.engines.evaluation.statistics.paired import RESAMPLES
from hala_hpc.engines.evaluation.statistics.task_items import TaskItems, pair_items, weights_of


@dataclass(frozen=True)
class Choice:
    """The arm with the best mean on the first half, and its scores on both halves."""

    label: str
    chosen_on: MeanInterval
    """On the half that it was chosen on; too high, as the best of several."""
    reported_on: MeanInterval
    """On the other half: the result."""
    scores: Mapping[str, MeanInterval]
    """Of all arms on the half that was chosen on."""


def choose_arm(arms: Mapping[str, Sequence[TaskItems]]) -> Choice:
    """Choose the arm with the highest mean over its tasks, by weight; the first one of equals.

    Raises: UserError (BAD_DATA) if a task has items in one half only, or the arms' items differ.
    """
    reference = next(iter(arms.values()))
    for label, tasks in arms.items():
        if [(t.task, list(t.hashes)) for t in tasks] != [
            (t.task, list(t.hashes)) for t in reference
        ]:
            raise UserError(f"{label}: not the same items as the other arms", BAD_DATA)
    halves = {label: [split_halves(items) for items in tasks] for label, tasks in arms.items()}
    scores = {label: score_tasks([half for half, _ in both]) for label, both in halves.items()}
    best = max(scores, key=lambda label: scores[label].mean)
    reported = score_tasks([half for _, half in halves[best]])
    return Choice(best, scores[best], reported, scores)


def compare_with_chosen(
    choice: Choice, arms: Mapping[str, Sequence[TaskItems]], resamples: int = RESAMPLES
) -> list[Comparison]:
    """Compare all other arms with the chosen one on the half that it was not chosen on.

    They are one family of tests. Raises: UserError (BAD_DATA) as `choose_arm` does.
    """
    other_half = {label: [split_halves(one)[1] for one in tasks] for label, tasks in arms.items()}
    chosen = other_half.pop(choice.label)
    rows = [
        TableRow(label, MACRO_MEAN, [pair_items(a, b) for a, b in zip(chosen, tasks, strict=True)])
        for label, tasks in other_half.items()
    ]
    return compare_rows(rows, resamples)


def score_tasks(tasks: Sequence[TaskItems]) -> MeanInterval:
    """The score of one task, or the mean of several by their weights."""
    found = [mean_interval(items) for items in tasks]
    return found[0] if len(found) == 1 else macro_interval(found, weights_of(tasks))


def split_halves(items: TaskItems) -> tuple[TaskItems, TaskItems]:
    """Split a task by the hashes of its items, or of its clusters, which stay whole.

    The halves are the same in every run, and for every model.

    Raises: UserError (BAD_DATA) if one half would be empty.
    """
    halves: tuple[list[int], list[int]] = ([], [])
    for index, key in enumerate(items.clusters or items.hashes):
        halves[sha256(key.encode()).digest()[0] % 2].append(index)
    if not all(halves):
        raise UserError(
            f"{items.task}: {len(items.hashes)} items cannot be halved; choose on more items",
            BAD_DATA,
        )
    first, second = (take_items(items, half) for half in halves)
    return first, second


def take_items(items: TaskItems, indices: Sequence[int]) -> TaskItems:
    """The items at these indices."""
    return TaskItems(
        items.task,
        [items.hashes[i] for i in indices],
        [items.values[i] for i in indices],
        [items.clusters[i] for i in indices] if items.clusters is not None else None,
        items.weight,
    )
