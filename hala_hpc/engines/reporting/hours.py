"""Time and cost: seconds and speed of each step, GPU hours estimated and used, money."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hala_hpc.engines.evaluation.report import DASH, Table, format_count
from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.page_content import Drawing, PageTable
from hala_hpc.engines.reporting.safe_text import clean_label
from hala_hpc.engines.reporting.svg_theme import SERIES, draw_svg


@dataclass(frozen=True)
class HourPrice:
    """Price of a GPU hour, as the lab states it."""

    price: float
    currency: str = ""

    def format(self, hours: float | None) -> str:
        """The price of some hours."""
        if hours is None:
            return DASH
        return f"{hours * self.price:,.2f} {self.currency}".strip()


def make_hours_table(nodes: Sequence[NodeFacts], price: HourPrice | None) -> PageTable:
    """A row for each finished or started node with its time, speed and GPU hours."""
    columns = ["step", "stage", "hours of its jobs", "wall-clock hours", "tokens/s"]
    columns += ["GPU hours estimated", "GPU hours used", *(["cost"] if price else [])]
    started = [n for n in nodes if n.summary or n.gpu_hours is not None]
    data = [hours_of(node) for node in started]
    cells = [
        [
            *(node.name, node.stage, *map(format_hours_cell, row[2:4]), format_count(row[4])),
            *map(format_hours_cell, row[5:7]),
            *([price.format(node.gpu_hours)] if price else []),
        ]
        for node, row in zip(started, data, strict=True)
    ]
    if any(node.gpu_hours is not None for node in started):
        cells.append(total_row(started, price))
    note = (
        "GPU hours used are those in the records of the jobs, without jobs that were killed before "
        "they could write one. A dash: unknown, or the step requests no GPU. Runs on one machine "
        "without a scheduler count none."
    )
    names = ["node", "stage", "job_hours", "wall_hours", "tokens_per_s"]
    names += ["gpu_hours_estimate", "gpu_hours_used"]
    return PageTable(
        "hours", Table("Time and GPU hours", columns, cells, note, (0, 1)), data, names
    )


def hours_of(node: NodeFacts) -> list[Any]:
    """Name, stage, hours of jobs, wall-clock hours, tokens/s, GPU hours estimated and used."""
    summary = node.summary
    if summary is None:
        return [node.name, node.stage, None, None, None, node.gpu_hours_estimate, node.gpu_hours]
    tokens = summary.tokens_out or summary.tokens_in
    speed = round(tokens / summary.seconds, 1) if tokens and summary.seconds else None
    hours = round(summary.seconds / 3600, 4), round(summary.seconds_wall / 3600, 4)
    return [node.name, node.stage, *hours, speed, node.gpu_hours_estimate, node.gpu_hours]


def total_row(nodes: Sequence[NodeFacts], price: HourPrice | None) -> list[str]:
    """The sum over all nodes, as far as hours are known."""
    used = sum(node.gpu_hours or 0.0 for node in nodes)
    known = [n.gpu_hours_estimate for n in nodes if n.gpu_hours_estimate is not None]
    estimated = format_hours_cell(sum(known) if known else None)
    row = ["all steps", "", "", "", "", estimated, format_hours_cell(used)]
    return [*row, price.format(used)] if price else row


def format_hours_cell(hours: float | None) -> str:
    """Hours with digits that fit their size: `0.003`, `12.4`, `1,250`."""
    if hours is None:
        return DASH
    if hours == 0:
        return "0"
    digits = 4 if hours < 0.1 else 2 if hours < 10 else 0 if hours >= 1000 else 1
    return f"{hours:,.{digits}f}"


def draw_gpu_hours(nodes: Sequence[NodeFacts]) -> Drawing | None:
    """Estimated and used GPU hours as bars; None if no node has any."""
    found = [node for node in nodes if node.gpu_hours]
    if not found:
        return None

    def plot(axes: Sequence[Any]) -> None:
        (axis,) = axes
        rows = range(len(found))
        axis.barh(
            [r - 0.2 for r in rows],
            [n.gpu_hours or 0 for n in found],
            0.38,
            color=SERIES[0],
            label="used",
        )
        axis.barh(
            [r + 0.2 for r in rows],
            [n.gpu_hours_estimate or 0 for n in found],
            0.38,
            color=SERIES[1],
            label="estimated",
        )
        axis.set_yticks(rows, [clean_label(node.name) for node in found])
        axis.invert_yaxis()
        axis.set_xlabel("GPU hours")
        axis.legend()

    described = "; ".join(f"{node.name} used {node.gpu_hours:g}" for node in found)
    return Drawing(
        "gpu-hours",
        "GPU hours, estimated and used",
        draw_svg(plot, 1, (7.2, 0.9 + 0.45 * len(found))),
        described,
        "",
        ("step", "used", "estimated"),
        [[node.name, node.gpu_hours, node.gpu_hours_estimate] for node in found],
    )
