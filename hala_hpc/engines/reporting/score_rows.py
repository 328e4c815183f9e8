"""The scores of an evaluation, a row for each, in one scale for all models of the row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hala_hpc.engines.evaluation.report import DASH, TRANSLATION
from hala_hpc.engines.reporting.node_facts import NodeFacts

#: Metrics of lm-eval that are shares of 1; the page shows them in percent.
SHARES = frozenset(
    {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "f1", "em", "mc1", "mc2"}
    | {"prompt_level_strict_acc", "inst_level_strict_acc", "prompt_level_loose_acc"}
    | {"inst_level_loose_acc", "pass@1", "acc_norm_stderr"}
)
#: Metrics where a lower score is better.
LOWER_IS_BETTER = frozenset({"ter", "perplexity", "word_perplexity", "byte_perplexity"})
PERCENT = 100.0
#: Name of the row with the mean of all tasks.
MEAN = "mean of the tasks/acc"


@dataclass(frozen=True)
class ScoreCell:
    """A score of a model, in the scale of its row."""

    value: float
    low: float | None = None
    """Lower bound of its 95 % interval; None if unknown."""
    high: float | None = None
    error: float | None = None
    """Standard error; None if unknown."""

    @property
    def has_interval(self) -> bool:
        """Whether both bounds are known."""
        return self.low is not None and self.high is not None

    def format(self) -> str:
        """`41.5 [38.2, 44.9]`, or without an interval `41.5`."""
        if self.low is None or self.high is None:
            return f"{self.value:.1f}"
        return f"{self.value:.1f} [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class ScoreRow:
    """One score of all models of an evaluation."""

    name: str
    """Metric of translation, or `<task>/<metric>`."""
    cells: Mapping[str, ScoreCell]
    """By label of the model; those without this score are left out."""
    samples: int | None = None
    """Questions or sentences; None if unknown."""

    @property
    def task(self) -> str:
        """Task of lm-eval, or the metric of translation."""
        return self.name.partition("/")[0]

    @property
    def metric(self) -> str:
        """Metric without its filter, e.g. `exact_match` of `gsm8k/exact_match,strict-match`."""
        return (self.name.partition("/")[2] or self.name).partition(",")[0]

    @property
    def title(self) -> str:
        """Name for readers."""
        title = TRANSLATION.get(self.name, self.name.removesuffix("/acc"))
        return f"{title}, %" if self.metric in SHARES else title

    @property
    def best(self) -> str | None:
        """Label of the model that is better than all others; None if no difference is resolvable.

        Intervals that do not overlap are a stricter test than a paired one: what is best here is
        best, and a difference that only a paired test finds is not marked.
        """
        known = {label: cell for label, cell in self.cells.items() if cell.has_interval}
        if len(known) < len(self.cells) or len(known) < 2:
            return None
        is_lower_better = self.metric in LOWER_IS_BETTER
        for label, cell in known.items():
            others = [other for name, other in known.items() if name != label]
            if all(is_better(cell, other, is_lower_better) for other in others):
                return label
        return None


@dataclass(frozen=True)
class ScoreTable:
    """All scores of one evaluation."""

    node: str
    labels: Sequence[str]
    rows: Sequence[ScoreRow]
    headline_tasks: Sequence[str] = field(default_factory=tuple)
    """Tasks and groups as the settings name them; empty if unknown."""

    @property
    def headline_rows(self) -> list[ScoreRow]:
        """Translation metrics, and the scores of tasks that the settings name."""
        if not self.headline_tasks:
            return list(self.rows)
        named = {*self.headline_tasks, *TRANSLATION}
        return [row for row in self.rows if row.task in named] or list(self.rows)

    @property
    def mean_row(self) -> ScoreRow | None:
        """Unweighted mean of the first share of each headline task; None for fewer than two."""
        first: dict[str, ScoreRow] = {}
        for row in self.headline_rows:
            if row.metric in SHARES:
                first.setdefault(row.task, row)
        rows = list(first.values())
        if len(rows) < 2:
            return None
        cells = {
            label: mean_cell([row.cells[label] for row in rows])
            for label in self.labels
            if all(label in row.cells for row in rows)
        }
        return ScoreRow(MEAN, cells)


def is_better(cell: ScoreCell, other: ScoreCell, is_lower_better: bool) -> bool:
    """Whether the interval of a score is wholly on the better side of another."""
    if None in (cell.low, cell.high, other.low, other.high):
        return False
    if is_lower_better:
        return float(cell.high or 0) < float(other.low or 0)
    return float(cell.low or 0) > float(other.high or 0)


def mean_cell(cells: Sequence[ScoreCell]) -> ScoreCell:
    """Mean of scores; its interval is the normal one, from the errors of independent tasks."""
    value = sum(cell.value for cell in cells) / len(cells)
    errors = [cell.error for cell in cells]
    if any(error is None for error in errors):
        return ScoreCell(value)
    error = sum((error or 0.0) ** 2 for error in errors) ** 0.5 / len(cells)
    return ScoreCell(value, value - 1.96 * error, value + 1.96 * error, error)


def read_score_table(node: NodeFacts) -> ScoreTable | None:
    """The scores of an evaluation; None for any other node, and before it is done."""
    found = node.details
    scores = found.get("scores")
    if not isinstance(scores, dict) or not scores:
        return None
    labels = list(scores)
    names = list(dict.fromkeys(name for values in scores.values() for name in values))
    rows = []
    for name in names:
        cells = {label: read_cell(found, label, name) for label in labels if name in scores[label]}
        rows.append(ScoreRow(name, cells, samples_of_score(found, labels, name)))
    tasks = node.settings.get("tasks") or []
    return ScoreTable(node.name, labels, rows, [str(task) for task in tasks])


def read_cell(
    found: Mapping[str, dict[str, dict[str, object]]], label: str, name: str
) -> ScoreCell:
    """A score with its interval, in percent if it is a share."""
    metric = (name.partition("/")[2] or name).partition(",")[0]
    scale = PERCENT if metric in SHARES else 1.0
    value = float(str(found["scores"][label][name]))
    error = (found.get("errors") or {}).get(label, {}).get(name)
    interval = (found.get("intervals") or {}).get(label, {}).get(name)
    low, high = interval if isinstance(interval, list | tuple) else (None, None)
    if low is None and error is not None:
        low, high = value - 1.96 * float(str(error)), value + 1.96 * float(str(error))
    return ScoreCell(
        value * scale,
        None if low is None else float(low) * scale,
        None if high is None else float(high) * scale,
        None if error is None else float(str(error)) * scale,
    )


def samples_of_score(
    found: Mapping[str, dict[str, dict[str, object]]], labels: Sequence[str], name: str
) -> int | None:
    """Questions or sentences of a score; None if unknown."""
    for label in labels:
        samples = (found.get("samples") or {}).get(label, {})
        size = samples.get(name, samples.get(name.partition("/")[0]))
        if isinstance(size, int):
            return size
    return None


def format_cell(cell: ScoreCell | None) -> str:
    """A cell of the table; a dash if the model has no such score."""
    return DASH if cell is None else cell.format()
