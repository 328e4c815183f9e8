"""A loss curve as points of a small picture."""

import math
from dataclasses import dataclass
from typing import Any

#: Of the drawing, in pixels; the margin holds the numbers at the axes.
WIDTH, HEIGHT, MARGIN = 460, 200, 44


@dataclass(frozen=True)
class Curve:
    """The points of one training: dicts with step, loss, learning_rate and tokens_per_s."""

    name: str
    points: list[dict[str, Any]]

    @property
    def good(self) -> list[tuple[float, float]]:
        """Step and loss of every point that has a finite loss."""
        pairs = [(float(p["step"]), float(p["loss"])) for p in self.points if "loss" in p]
        return [pair for pair in pairs if math.isfinite(pair[1])]

    @property
    def steps(self) -> tuple[float, float]:
        """First and last step."""
        steps = [step for step, _ in self.good] or [0.0]
        return steps[0], steps[-1]

    @property
    def losses(self) -> tuple[float, float]:
        """Lowest and highest loss."""
        losses = [loss for _, loss in self.good] or [0.0]
        return min(losses), max(losses)

    @property
    def path(self) -> str:
        """The points of an SVG polyline, e.g. `44,10 90,31.5`."""
        (first, last), (low, high) = self.steps, self.losses
        return " ".join(
            f"{MARGIN + (WIDTH - MARGIN - 10) * share(step, first, last):.1f},"
            f"{10 + (HEIGHT - 40) * (1 - share(loss, low, high)):.1f}"
            for step, loss in self.good
        )


def share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, from 0 to 1; the middle when they are one."""
    return (value - low) / (high - low) if high > low else 0.5
