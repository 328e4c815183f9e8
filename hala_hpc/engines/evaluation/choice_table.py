"""The table of a choice: the best of several models on one half of the items, and its rivals."""

from collections.abc import Mapping, Sequence

from hala_hpc.core.errors import UserError
from hala_hpc.engines.evaluation.report import DASH, Table, format_decimals
from hala_hpc.engines.evaluation.statistics.comparison import Comparison, DifferenceVerdict
from hala_hpc.engines.evaluation.statistics.halves import Choice, choose_arm, compare_with_chosen
from hala_hpc.engines.evaluation.statistics.intervals import MeanInterval
from hala_hpc.engines.evaluation.statistics.task_items import TaskItems

COLUMNS = ["model", "half to choose on", "other half", "minus the chosen", "p (Holm)", "visible"]
CHOICE_NOTE = (
    "The best of several models on some items is partly luck on these items. So it is chosen on "
    "one half of the items, by their hashes; the third column, on the other half, is the result. "
    "There the others are compared with it: differences, p-values and visible differences are as "
    "in the table of differences."
)


def make_choice_table(title: str, arms: Mapping[str, Sequence[TaskItems]]) -> Table:
    """Make the table of these models; no rows without any, and one of dashes without a choice."""
    columns = [*COLUMNS, "verdict"]
    if not arms:
        return Table(title, columns, [])
    try:
        choice = choose_arm(arms)
        rivals = {one.label: one for one in compare_with_chosen(choice, arms)}
    except UserError as error:
        return Table(title, columns, [[DASH] * len(columns)], f"No choice: {error}.")
    rows = [format_arm(choice, label, rivals.get(label)) for label in choice.scores]
    note = f"{describe_rivals(choice.label, list(rivals.values()))} {CHOICE_NOTE}"
    return Table(title, columns, rows, note, (0, len(COLUMNS)))


def format_arm(choice: Choice, label: str, rival: Comparison | None) -> list[str]:
    """The cells of one model; only the chosen one, which has no `rival`, has a result."""
    score = format_interval(choice.scores[label])
    if rival is None:
        result = format_interval(choice.reported_on)
        return [f"{label} (chosen)", score, result, DASH, DASH, DASH, "chosen"]
    return [label, score, DASH, *format_difference(rival)]


def describe_rivals(chosen: str, rivals: Sequence[Comparison]) -> str:
    """What the other half tells about the chosen model and the others, in one sentence."""
    names = {
        verdict: ", ".join(one.label for one in rivals if one.verdict is verdict)
        for verdict in DifferenceVerdict
    }
    unknown = names.pop(DifferenceVerdict.NOT_RESOLVABLE)
    texts = [f"{verdict} than {chosen}: {labels}" for verdict, labels in names.items() if labels]
    if not texts:
        return (
            f"On the other half no model is resolvable from {chosen}: these items do not tell "
            "which of them is best."
        )
    texts += [f"not resolvable from it: {unknown}"] if unknown else []
    return f"On the other half, {'; '.join(texts)}."


def format_difference(row: Comparison) -> list[str]:
    """Difference with its interval, p-value, smallest visible difference, and verdict."""
    sign = "+" if row.difference >= 0 else "−"
    bounds = f"[{format_decimals(row.low)}, {format_decimals(row.high)}]"
    return [
        f"{sign}{format_decimals(abs(row.difference))} {bounds}",
        f"{row.adjusted_p_value:.4f}",
        DASH if row.detectable is None else format_decimals(row.detectable),
        str(row.verdict),
    ]


def format_interval(score: MeanInterval) -> str:
    """A score with its 95 % interval."""
    low, high = format_decimals(score.low), format_decimals(score.high)
    return f"{format_decimals(score.mean)} [{low}, {high}]"
