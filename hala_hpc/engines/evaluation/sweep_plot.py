"""The plot of a sweep: score over value with 95 % intervals, other models as horizontal bands.

Drawn as SVG by the template of the page, as the loss curves are: the environment has no plotting
library.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hala_hpc.engines.evaluation.statistics.intervals import MeanInterval

#: Pixels of the drawing, and of its margins.
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 320, 60, 46, 14, 150
#: The number at the end of a label, such as 0.25 in merged-t0.25.
LAST_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:[eE]-?\d+)?$")


@dataclass(frozen=True)
class PlotPoint:
    """One value of a sweep."""

    label: str
    value: float
    score: MeanInterval


@dataclass(frozen=True)
class PlotBand:
    """A model that is not part of the sweep."""

    label: str
    score: MeanInterval


@dataclass(frozen=True)
class PlacedPoint:
    """A point with its place in the drawing, in pixels."""

    label: str
    text: str
    """Score with its interval, shown when the pointer is on it."""
    tick: str
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class SweepPlot:
    """Scores of a sweep; `points` in the order of their values."""

    title: str
    points: Sequence[PlotPoint]
    bands: Sequence[PlotBand]

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest score that is drawn, with intervals."""
        every = [*(one.score for one in self.points), *(one.score for one in self.bands)]
        return min(one.low for one in every), max(one.high for one in every)

    def place_points(self) -> list[PlacedPoint]:
        """The points with their places."""
        return [
            PlacedPoint(
                one.label,
                describe_score(one.label, one.score),
                f"{one.value:g}",
                round(self.place_value(one.value), 1),
                *self.place_score(one.score),
            )
            for one in self.points
        ]

    def place_bands(self) -> list[PlacedPoint]:
        """The bands with their places; they are as wide as the drawing."""
        return [
            PlacedPoint(
                one.label,
                describe_score(one.label, one.score),
                "",
                float(WIDTH - RIGHT),
                *self.place_score(one.score),
            )
            for one in self.bands
        ]

    def place_value(self, value: float) -> float:
        """Horizontal place of a value."""
        first, last = self.points[0].value, self.points[-1].value
        share = (value - first) / (last - first) if last > first else 0.5
        return LEFT + 20 + (WIDTH - LEFT - RIGHT - 40) * share

    def place_score(self, score: MeanInterval) -> tuple[float, float, float]:
        """Vertical places of a score and of the ends of its interval."""
        low, high = self.bounds
        scale = (HEIGHT - TOP - BOTTOM) / (high - low) if high > low else 0.0
        mean, bottom, top = (
            round(HEIGHT - BOTTOM - (value - low) * scale, 1)
            for value in (score.mean, score.low, score.high)
        )
        return mean, bottom, top


def describe_score(label: str, score: MeanInterval) -> str:
    """`merged-t0.25: 0.4125 [0.3702, 0.4561]`."""
    return f"{label}: {score.mean:.4f} [{score.low:.4f}, {score.high:.4f}]"


def read_value(label: str, place: int) -> float:
    """The value in a label, as 0.25 in merged-t0.25; without a number, its place in the sweep."""
    found = LAST_NUMBER.search(label)
    return float(found[0]) if found else float(place)
