"""Tables of a report from the items of an evaluation: differences, choices, excluded items.

Models are compared with the first one on the same items. A row is an entry of `tasks`, a task of an
entry without a mean of its own, or the mean of all entries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from hala_hpc.core.errors import UserError
from hala_hpc.engines.evaluation.choice_table import format_difference, make_choice_table
from hala_hpc.engines.evaluation.item_files import ItemOutcome, read_items_by_model
from hala_hpc.engines.evaluation.report import DASH, Table
from hala_hpc.engines.evaluation.score_files import MergedScores
from hala_hpc.engines.evaluation.statistics.comparison import (
    MACRO_MEAN,
    TableRow,
    compare_rows,
)
from hala_hpc.engines.evaluation.statistics.task_items import TaskItems, pair_items

DIFFERENCE_NOTE = (
    "Each model against the first on the same items: difference with the 95 % interval of a paired "
    "bootstrap; p-values of McNemar's exact test for one task of right and wrong answers, else of "
    "random signs, corrected by Holm's method for all rows of this table. Visible: the smallest "
    "true difference that this row would find with a probability of 80 %. Not resolvable means "
    "that the items are too few to tell, not that the models are equal."
)
#: Weight of a task that is alone in its entry.
WHOLE = 1.0


@dataclass(frozen=True)
class EvaluationItems:
    """The items of one evaluation, grouped as its tables show them."""

    node: str
    scores: MergedScores
    models: Mapping[str, Mapping[str, list[ItemOutcome]]]
    """Scored items by model and task."""

    @classmethod
    def read(cls, node: str, folder: Path) -> "EvaluationItems | None":
        """Read the output of an evaluation; None if it has no items.

        Raises: UserError (BAD_DATA) if a file is damaged.
        """
        scores = MergedScores.read(folder / "scores.json")
        found = read_items_by_model(folder) if scores is not None else {}
        if scores is None or not found:
            return None
        models: dict[str, dict[str, list[ItemOutcome]]] = {}
        for label in scores.scores:
            by_task: dict[str, list[ItemOutcome]] = {}
            for item in found.get(label, ()):
                if not item.excluded and item.correct is not None:
                    by_task.setdefault(item.task, []).append(item)
            models[label] = by_task
        return cls(node, scores, models)

    @property
    def labels(self) -> list[str]:
        """Labels of the models; the first is what the others are compared with."""
        return list(self.models)

    def rows_of(self, label: str) -> dict[str, list[TaskItems]]:
        """Tasks of each row of a model's table, the mean of all entries last.

        Raises: UserError (BAD_DATA) if a task has no items.
        """
        entries = {
            entry: self.tasks_of_entry(label, entry, tasks)
            for entry, tasks in self.scores.entries.items()
        }
        rows: dict[str, list[TaskItems]] = {}
        for entry, tasks in entries.items():
            if len(tasks) == 1 or self.has_mean(entry):
                rows[entry] = tasks
            else:
                rows |= {task.task: [task] for task in tasks}
        if len(entries) > 1:
            rows[MACRO_MEAN] = [
                replace(task, weight=1 / len(tasks)) for tasks in entries.values() for task in tasks
            ]
        return rows

    def tasks_of_entry(self, label: str, entry: str, tasks: Sequence[str]) -> list[TaskItems]:
        """The tasks of an entry; a group that is weighted by size is one task of all its items."""
        items = self.models[label]
        if self.is_pooled(entry):
            return [make_task_items(entry, [one for task in tasks for one in items.get(task, ())])]
        return [make_task_items(task, items.get(task, ())) for task in tasks]

    def has_mean(self, entry: str) -> bool:
        """Whether an entry is a group with a score of its own."""
        group = self.scores.groups.get(entry)
        return bool(group and group.means)

    def is_pooled(self, entry: str) -> bool:
        """Whether the score of a group is the mean of all its items."""
        group = self.scores.groups.get(entry)
        return bool(group and group.means and group.means[0].is_weighted)


def make_task_items(task: str, items: Sequence[ItemOutcome]) -> TaskItems:
    """The outcome of a task's items for statistics, in clusters if items share any."""
    values = [one.correct for one in items if one.correct is not None]
    clusters = [one.cluster or f"{one.task} {one.item}" for one in items]
    is_shared = len(set(clusters)) < len(clusters)
    hashes = [one.pair_hash for one in items]
    return TaskItems(task, hashes, values, clusters if is_shared else None)


def item_tables(evaluation: EvaluationItems) -> list[Table]:
    """Tables of differences, of a choice, and of excluded items; those without rows too."""
    return [difference_table(evaluation), choice_table(evaluation), excluded_table(evaluation)]


def difference_table(evaluation: EvaluationItems) -> Table:
    """Table of the differences of all models to the first; what cannot be paired is in the note."""
    first, *others = evaluation.labels
    paired, refused = [], []
    for label in others:
        try:
            paired += pair_rows(evaluation, first, label)
        except UserError as error:
            refused.append(f"{label} is not compared: {error}.")
    columns = ["model", "task", f"minus {first}", "p (Holm)", "visible", "verdict"]
    rows = (
        [[one.label, one.task, *format_difference(one)] for one in compare_rows(paired)]
        if paired
        else []
    )
    rows += [[text.split(" ", 1)[0], DASH, DASH, DASH, DASH, "not comparable"] for text in refused]
    note = " ".join([DIFFERENCE_NOTE, *refused])
    return Table(f"Differences to {first} ({evaluation.node})", columns, rows, note, (0, 1, 5))


def pair_rows(evaluation: EvaluationItems, first: str, label: str) -> list[TableRow]:
    """The rows of one model. Raises: UserError (BAD_DATA) if its items are not those of `first`."""
    own, base = evaluation.rows_of(label), evaluation.rows_of(first)
    return [
        TableRow(label, name, [pair_items(a, b) for a, b in zip(base[name], tasks, strict=True)])
        for name, tasks in own.items()
    ]


def choice_table(evaluation: EvaluationItems) -> Table:
    """Table of the models of `choose`, and which of them is best; no rows without the setting."""
    title = f"Choice among {evaluation.scores.choose} ({evaluation.node})"
    return make_choice_table(
        title, {label: tasks_to_choose(evaluation, label) for label in arms_of(evaluation)}
    )


def arms_of(evaluation: EvaluationItems) -> list[str]:
    """The models that `choose` selects; none without the setting."""
    pattern = evaluation.scores.choose or ""
    return [label for label in evaluation.labels if fnmatchcase(label, pattern)]


def tasks_to_choose(evaluation: EvaluationItems, label: str) -> list[TaskItems]:
    """The tasks whose mean is chosen by: that of all entries."""
    *_, last = evaluation.rows_of(label).values()
    return last


def excluded_table(evaluation: EvaluationItems) -> Table:
    """Table of the items that no model is scored on, by task and reason."""
    rows = [
        [task, reason, f"{number:,}"]
        for task, reasons in evaluation.scores.excluded.items()
        for reason, number in sorted(reasons.items())
    ]
    title = f"Items that are not scored ({evaluation.node})"
    return Table(title, ["task", "reason", "items"], rows, "", (0, 1))
