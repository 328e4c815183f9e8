"""Curves of trainings: loss with held-out loss, learning rate, tokens per second."""

import math
from collections.abc import Sequence
from typing import Any

from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.evaluation.report import CurvePoint
from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.page_content import Drawing
from hala_hpc.engines.reporting.safe_text import file_stem
from hala_hpc.engines.reporting.svg_theme import SERIES, draw_svg


class HeldOutLoss(JsonRecord):
    """Loss on held-out rows after a step."""

    step: int
    loss: float | None = None


def draw_training(node: NodeFacts) -> Drawing | None:
    """Three panels about a training; None for a node without a curve."""
    points = [CurvePoint.model_validate(one) for one in node.details.get("curve") or ()]
    if not points:
        return None
    held_out = [HeldOutLoss.model_validate(one) for one in node.details.get("held_out_curve") or ()]

    def plot(axes: Sequence[Any]) -> None:
        loss, rate, speed = axes
        draw_line(loss, points, "loss", "training", SERIES[0])
        good = [(p.step, p.loss) for p in held_out if p.loss is not None and math.isfinite(p.loss)]
        if good:
            loss.plot(
                *zip(*good, strict=True),
                color=SERIES[1],
                marker="o",
                markersize=3,
                linewidth=1.2,
                label="held-out rows",
            )
            loss.legend()
        draw_line(rate, points, "learning_rate", "learning rate", SERIES[3])
        draw_line(speed, points, "tokens_per_s", "tokens per second", SERIES[5])
        for axis, title in zip(axes, ("loss", "learning rate", "tokens per second"), strict=True):
            axis.set_title(title)
            axis.set_xlabel("step")
        rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        loss.set_ylim(bottom=0)
        speed.set_ylim(bottom=0)

    return Drawing(
        f"training-{file_stem(node.name)}",
        f"Training of {node.name}",
        draw_svg(plot, 3, (9.6, 2.5)),
        describe_losses(points, held_out),
        describe_losses(points, held_out),
        ("step", "loss", "learning_rate", "tokens_per_s", "held_out_loss"),
        curve_data(points, held_out),
    )


def draw_line(axis: Any, points: Sequence[CurvePoint], field: str, label: str, color: str) -> None:
    """Draw one column of the points; what is missing or not finite leaves a gap."""
    values = [getattr(point, field) for point in points]
    steps = [point.step for point in points]
    gaps = [math.nan if v is None or not math.isfinite(v) else v for v in values]
    axis.plot(
        steps, gaps, color=color, linewidth=1.4, label=label, marker="o" if len(points) == 1 else ""
    )


def describe_losses(points: Sequence[CurvePoint], held_out: Sequence[HeldOutLoss]) -> str:
    """First and last losses as a sentence."""
    text = f"Loss {format_loss(points[0].loss)} to {format_loss(points[-1].loss)}"
    text += f" in {points[-1].step:,} steps"
    if held_out:
        text += f"; on held-out rows {format_loss(held_out[-1].loss)} in the end"
    return text + "."


def format_loss(loss: float | None) -> str:
    """A loss with three decimals."""
    return "unknown" if loss is None else f"{loss:.3f}"


def curve_data(points: Sequence[CurvePoint], held_out: Sequence[HeldOutLoss]) -> list[list[object]]:
    """Rows of the CSV file, one for each step with any figure."""
    by_step = {point.step: point for point in points}
    held = {point.step: point.loss for point in held_out}
    rows: list[list[object]] = []
    for step in sorted({*by_step, *held}):
        point = by_step.get(step, CurvePoint(step=step))
        rows.append([step, point.loss, point.learning_rate, point.tokens_per_s, held.get(step)])
    return rows
