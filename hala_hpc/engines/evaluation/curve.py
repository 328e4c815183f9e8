"""A loss curve as points of a small picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from hala_hpc.core.record import Record

#: Of the drawing, in pixels; the margin holds the numbers at the axes.
WIDTH, HEIGHT, MARGIN = 460, 200, 44


class CurvePoint(Record):
    """The mean of some steps of a training."""

    step: int
    """The last of them."""
    loss: float | None = None
    learning_rate: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Curve:
    """The points of one training."""

    name: str
    points: tuple[CurvePoint, ...]

    @classmethod
    def of(cls, name: str, points: Sequence[object]) -> Self:
        """A curve of the figures in the summary of a training."""
        return cls(name, tuple(CurvePoint.model_validate(point) for point in points))

    @property
    def good(self) -> list[tuple[float, float]]:
        """Step and loss of every point that has a finite loss."""
        known = [(p.step, p.loss) for p in self.points if p.loss is not None]
        return [(float(step), loss) for step, loss in known if math.isfinite(loss)]

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
