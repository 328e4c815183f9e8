"""Table of what perturbations cost: each model against itself on the plain items."""

from collections.abc import Iterator, Mapping, Sequence

from hala_hpc.engines.evaluation.choice_table import format_difference
from hala_hpc.engines.evaluation.item_files import ItemOutcome
from hala_hpc.engines.evaluation.item_tables import EvaluationItems
from hala_hpc.engines.evaluation.perturbations.perturbation import perturbation_ending, plain_entry
from hala_hpc.engines.evaluation.report import Table
from hala_hpc.engines.evaluation.score_files import MergedScores
from hala_hpc.engines.evaluation.statistics.comparison import TableRow, compare_rows
from hala_hpc.engines.evaluation.statistics.task_items import PairedTask

CHANGE_NOTE = (
    "Each model on perturbed items against the same model on the plain ones, paired by task and "
    "number: difference with the 95 % interval of a paired bootstrap, p-values corrected by Holm's "
    "method for all rows of this table. A group is the mean of its members, as its score is. "
    "Visible: the smallest true difference that this row would find with a probability of 80 %."
)


def change_table(evaluation: EvaluationItems) -> Table:
    """Table of all perturbed entries whose plain entry is there; no rows without any."""
    rows = list(change_rows(evaluation))
    compared = compare_rows(rows) if rows else []
    cells = [[one.label, one.task, *format_difference(one)] for one in compared]
    columns = ["model", "perturbed", "minus plain", "p (Holm)", "visible", "verdict"]
    return Table(
        f"Changes by perturbation ({evaluation.node})", columns, cells, CHANGE_NOTE, (0, 1, 5)
    )


def change_rows(evaluation: EvaluationItems) -> Iterator[TableRow]:
    """A row for each model and perturbed entry, before it is tested."""
    entries = evaluation.scores.entries
    for label, items in evaluation.models.items():
        for entry, tasks in entries.items():
            if not perturbation_ending(entry) or plain_entry(entry) not in entries:
                continue
            weights = task_weights(evaluation.scores, entry, tasks)
            pairs = [
                PairedTask(task, differences, weight=weights[task])
                for task in tasks
                if (differences := pair_with_plain(items, task))
            ]
            if pairs:
                yield TableRow(label, entry, pairs)


def pair_with_plain(items: Mapping[str, Sequence[ItemOutcome]], task: str) -> list[float]:
    """Perturbed minus plain score of the items of a task that both have."""
    plain = {one.item: one for one in items.get(plain_entry(task), ())}
    return [
        one.correct - before.correct
        for one in items.get(task, ())
        if (before := plain.get(one.item)) is not None
        and before.correct is not None
        and one.correct is not None
    ]


def task_weights(scores: MergedScores, entry: str, tasks: Sequence[str]) -> dict[str, float]:
    """The weight of each task of an entry: members of a group count the same."""
    group = scores.groups.get(entry)
    weights = dict.fromkeys(tasks, 1.0)
    for member in group.members if group else ():
        parts = scores.groups[member].tasks if member in scores.groups else (member,)
        weights |= dict.fromkeys(parts, 1 / len(parts))
    return weights
