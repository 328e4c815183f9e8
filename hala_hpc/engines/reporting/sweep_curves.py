"""Curves of sweeps: scores against the swept value, and two abilities against each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import Damaged
from hala_hpc.core.errors import UserError
from hala_hpc.core.records import NodeConfig
from hala_hpc.core.stage_registry import find_stage
from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.page_content import Drawing
from hala_hpc.engines.reporting.safe_text import clean_label, file_stem
from hala_hpc.engines.reporting.score_rows import (
    LOWER_IS_BETTER,
    ScoreCell,
    ScoreRow,
    ScoreTable,
    read_score_table,
)
from hala_hpc.engines.reporting.svg_theme import INK, SERIES, draw_svg

#: Scores that one drawing holds.
MAX_PANELS = 6
#: Groups whose means are drawn against each other: the row of a group has its name, or a name of
#: which it is the last word, such as my_arabic.
ABILITIES = ("arabic", "english")


@dataclass(frozen=True)
class SweptModel:
    """A model that an evaluation scored, with the settings of its node."""

    config: NodeConfig
    table: ScoreTable
    label: str

    def cell(self, row: str) -> ScoreCell | None:
        """Its score in a row; None if it has none."""
        found = next((one for one in self.table.rows if one.name == row), None)
        return found.cells.get(self.label) if found else None


@dataclass(frozen=True)
class SweepFacts:
    """Models that differ in one numeric setting."""

    stage: str
    setting: str
    points: Mapping[float, SweptModel]
    """By value, in ascending order."""
    parents: Mapping[str, SweptModel]
    """Models of the same evaluations that the sweep reads, by label."""


def find_sweeps(nodes: Sequence[NodeFacts]) -> list[SweepFacts]:
    """The sweeps among all models that the evaluations scored."""
    models = [model for node in nodes for model in scored_models(node)]
    by_folder = {(model.config.node, model.config.fingerprint): model for model in models}
    distinct = list(by_folder.values())
    sweeps: dict[tuple[str, str, str], dict[float, SweptModel]] = {}
    for one in distinct:
        settings = settings_of_result(one.config)
        for setting, value in settings.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                rest = {k: v for k, v in settings.items() if k != setting}
                key = (one.config.stage, setting, repr(sorted(rest.items())))
                sweeps.setdefault(key, {})[float(value)] = one
    return [
        SweepFacts(stage, setting, dict(sorted(points.items())), parents_of(points, distinct))
        for (stage, setting, _), points in sweeps.items()
        if len(points) > 1
    ]


def settings_of_result(config: NodeConfig) -> dict[str, Any]:
    """The settings of a node that change its result.

    The others differ within a sweep too: each merge names those beside it.
    """
    try:
        settings = find_stage(config.stage, config.stage_source).Settings
    except UserError:  # a stage of a lab that is not here
        return config.settings
    known = settings.model_fields
    return {
        k: v for k, v in config.settings.items() if k not in known or not settings.is_runtime(k)
    }


def parents_of(
    points: Mapping[float, SweptModel], models: Sequence[SweptModel]
) -> dict[str, SweptModel]:
    """The models that all points read, by their label in the evaluation."""
    common = set.intersection(*(set(one.config.inputs) for one in points.values()))
    return {one.label: one for one in models if one.config.node in common}


def scored_models(node: NodeFacts) -> list[SweptModel]:
    """The models of an evaluation that are results of nodes."""
    table = read_score_table(node)
    if table is None or node.config is None or node.output is None:
        return []
    found = []
    for label, reference in (node.settings.get("models") or {}).items():
        facts = node.config.inputs.get(str(reference).removeprefix("@").partition("/")[0])
        if facts is None or facts.artifact is None or label not in table.labels:
            continue
        try:
            config = Artifact(node.output.parent.parent / facts.artifact).config()
        except Damaged:
            continue
        if config is not None:
            found.append(SweptModel(config, table, label))
    return found


def draw_sweep(sweep: SweepFacts) -> Drawing | None:
    """Each headline score against the swept value, with its band; None without a common score."""
    rows = common_rows(sweep)[:MAX_PANELS]
    if not rows:
        return None

    def plot(axes: Sequence[Any]) -> None:
        for axis, row in zip(axes, rows, strict=True):
            draw_panel(axis, sweep, row)
        axes[0].legend(fontsize=8)

    name = f"sweep-{file_stem(sweep.stage)}-{file_stem(sweep.setting)}"
    data = sweep_data(sweep, [row.name for row in rows])
    return Drawing(
        name,
        f"Scores by {sweep.setting} of {sweep.stage}",
        draw_svg(plot, len(rows), (max(3.6, 2.9 * len(rows)), 2.9)),
        f"{sweep.setting} from {min(sweep.points):g} to {max(sweep.points):g}; "
        "every value is in the file beside the page.",
        "Bands: 95 % intervals. Dashed: models that all values share. The value with the best "
        "score here was picked and measured on the same questions, so that its score is too high.",
        (sweep.setting, "model", "score", "value", "low", "high"),
        data,
    )


def common_rows(sweep: SweepFacts) -> list[ScoreRow]:
    """Headline rows in which every model of the sweep has a score."""
    models = list(sweep.points.values())
    first = models[0].table
    return [row for row in first.headline_rows if all(one.cell(row.name) for one in models)]


def draw_panel(axis: Any, sweep: SweepFacts, row: ScoreRow) -> None:
    """One score against the swept value."""
    values = list(sweep.points)
    cells = [cell for one in sweep.points.values() if (cell := one.cell(row.name))]
    axis.plot(values, [c.value for c in cells], color=SERIES[0], marker="o", markersize=4)
    if all(cell.has_interval for cell in cells):
        lows, highs = [c.low or 0.0 for c in cells], [c.high or 0.0 for c in cells]
        axis.fill_between(values, lows, highs, color=SERIES[0], alpha=0.2, linewidth=0)
    for number, (label, parent) in enumerate(sweep.parents.items()):
        if (cell := parent.cell(row.name)) is not None:
            color = SERIES[1 + number % (len(SERIES) - 1)]
            axis.axhline(
                cell.value, color=color, linestyle="--", linewidth=1.2, label=clean_label(label)
            )
    axis.set_title(clean_label(row.title))
    axis.set_xlabel(clean_label(sweep.setting))


def sweep_data(sweep: SweepFacts, names: Sequence[str]) -> list[list[object]]:
    """Rows of the CSV file; models without a swept value have none."""
    models: list[tuple[object, SweptModel]] = list(sweep.points.items())
    models += [("", parent) for parent in sweep.parents.values()]
    return [
        [value, model.label, name, cell.value, cell.low, cell.high]
        for value, model in models
        for name in names
        if (cell := model.cell(name)) is not None
    ]


def draw_tradeoff(sweep: SweepFacts) -> Drawing | None:
    """Means of two groups of tasks against each other, with the front; None without both."""
    models = {f"{value:g}": one for value, one in sweep.points.items()} | dict(sweep.parents)
    found = {
        label: (first, second)
        for label, one in models.items()
        if (first := group_cell(one, ABILITIES[0])) and (second := group_cell(one, ABILITIES[1]))
    }
    if len(found) < 2:
        return None
    front = front_labels({label: (a.value, b.value) for label, (a, b) in found.items()})

    def plot(axes: Sequence[Any]) -> None:
        (axis,) = axes
        for label, (first, second) in found.items():
            color = SERIES[0] if label in front else SERIES[1]
            axis.errorbar(
                first.value,
                second.value,
                xerr=bars(first),
                yerr=bars(second),
                marker="o",
                markersize=4,
                color=color,
                elinewidth=0.8,
            )
            axis.annotate(f" {clean_label(label)}", (first.value, second.value), color=INK)
        line = sorted((found[label][0].value, found[label][1].value) for label in front)
        axis.plot(*zip(*line, strict=True), color=SERIES[0], linewidth=1)
        axis.set_xlabel(f"{ABILITIES[0]}, %")
        axis.set_ylabel(f"{ABILITIES[1]}, %")

    return Drawing(
        f"tradeoff-{file_stem(sweep.stage)}-{file_stem(sweep.setting)}",
        f"{ABILITIES[0].title()} against {ABILITIES[1].title()} by {sweep.setting}",
        draw_svg(plot, 1, (5.2, 4.2)),
        f"On the front: {', '.join(front)}.",
        "The line joins models that no other model beats in both.",
        ("model", *ABILITIES),
        [[label, first.value, second.value] for label, (first, second) in found.items()],
    )


def group_cell(model: SweptModel, group: str) -> ScoreCell | None:
    """The score of a model in a group of tasks; None if the evaluation has no such group."""
    rows = [row for row in model.table.rows if f"_{row.task}".endswith(f"_{group}")]
    row = min(rows, key=lambda row: row.task != group, default=None)
    return row.cells.get(model.label) if row and row.metric not in LOWER_IS_BETTER else None


def bars(cell: ScoreCell) -> list[list[float]] | None:
    """Lengths of the error bars below and above a score; None without an interval."""
    if cell.low is None or cell.high is None:
        return None
    return [[max(0.0, cell.value - cell.low)], [max(0.0, cell.high - cell.value)]]


def front_labels(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Labels of the points that no other point beats in both coordinates."""
    return [
        label
        for label, (x, y) in points.items()
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points.values())
    ]
