"""Intervals of scores: of a task's items, in clusters or not, and of the mean of several tasks.

Below 300 items a share of correct answers gets Wilson's interval, as the normal one is too short
there and leaves the range from 0 to 1. Clustered standard errors are those of Miller (2024, arXiv
2411.00640), with the factor G / (G - 1) for G clusters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

from hala_hpc.engines.evaluation.statistics.task_items import TaskItems

#: Share of intervals that hold the true value.
CONFIDENCE = 0.95
#: Quantile of the normal distribution for that share: 1.96.
NORMAL_QUANTILE = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
#: From so many items on, the normal interval of a share is as good as Wilson's.
MIN_NORMAL_ITEMS = 300


class IntervalMethod(StrEnum):
    """How an interval was computed."""

    WILSON = "wilson"
    NORMAL = "normal"
    STUDENT = "student"
    """Of scores other than 0 and 1, for few items or clusters."""
    BOOTSTRAP = "bootstrap"


@dataclass(frozen=True)
class MeanInterval:
    """A mean score with its standard error and 95 % interval, in the unit of the score."""

    mean: float
    error: float
    low: float
    high: float
    method: IntervalMethod


def mean_interval(items: TaskItems) -> MeanInterval:
    """The interval of the mean score of a task."""
    number = len(items.values)
    mean = math.fsum(items.values) / number
    error = standard_error(items)
    groups = number if items.clusters is None else len(set(items.clusters))
    if set(items.values) <= {0.0, 1.0}:
        return proportion_interval(mean, error, number, groups)
    if groups < 2:
        return MeanInterval(mean, math.inf, -math.inf, math.inf, IntervalMethod.STUDENT)
    if groups >= MIN_NORMAL_ITEMS:
        return normal_interval(mean, error)
    from scipy.stats import t

    half = float(t.ppf(0.5 + CONFIDENCE / 2, groups - 1)) * error
    return MeanInterval(mean, error, mean - half, mean + half, IntervalMethod.STUDENT)


def proportion_interval(share: float, error: float, items: int, groups: int) -> MeanInterval:
    """The interval of a share of correct answers, whose items are in `groups` clusters.

    With clusters, Wilson's interval is that of as many independent items as would have the same
    standard error; of as many as there are clusters if all answers are equal.
    """
    spread = share * (1 - share)
    if groups == items:
        effective = float(items)
    elif groups == 1 or not spread or not math.isfinite(error):
        effective = float(groups)
    else:
        effective = min(float(items), spread / error**2) if error else float(items)
    if effective >= MIN_NORMAL_ITEMS:
        return normal_interval(share, error)
    low, high = wilson_bounds(share, effective)
    return MeanInterval(share, error, low, high, IntervalMethod.WILSON)


def reported_interval(score: float, error: float, items: int | None) -> MeanInterval:
    """The interval of a score that an engine reports with its standard error.

    A task whose error is that of `items` answers of 0 and 1 is a share of correct answers.
    """
    if items is not None and items > 1 and 0 <= score <= 1:
        of_share = math.sqrt(score * (1 - score) / (items - 1))
        if math.isclose(error, of_share, rel_tol=1e-6, abs_tol=1e-12):
            return proportion_interval(score, error, items, items)
    return normal_interval(score, error)


def wilson_bounds(share: float, items: float) -> tuple[float, float]:
    """Wilson's score interval of a share among so many independent items, not always an integer."""
    square = NORMAL_QUANTILE**2
    scale = 1 + square / items
    center = (share + square / (2 * items)) / scale
    root = math.sqrt(share * (1 - share) / items + square / (4 * items**2))
    half = NORMAL_QUANTILE * root / scale
    return max(0.0, center - half), min(1.0, center + half)


def normal_interval(mean: float, error: float) -> MeanInterval:
    """The normal interval of a mean with this standard error."""
    half = NORMAL_QUANTILE * error
    return MeanInterval(mean, error, mean - half, mean + half, IntervalMethod.NORMAL)


def standard_error(items: TaskItems) -> float:
    """Standard error of the mean score; infinite for a single cluster."""
    number = len(items.values)
    mean = math.fsum(items.values) / number
    sums: dict[object, float] = {}
    for key, value in zip(items.clusters or range(number), items.values, strict=True):
        sums[key] = sums.get(key, 0.0) + value - mean
    groups = len(sums)
    if groups < 2:
        return math.inf
    squares = math.fsum(total**2 for total in sums.values())
    return math.sqrt(squares * groups / (groups - 1)) / number


def macro_interval(
    parts: Sequence[MeanInterval], weights: Sequence[float] | None = None
) -> MeanInterval:
    """The interval of the mean of several tasks, from their standard errors.

    `weights` sum to 1; without them all tasks count the same.
    """
    shares = weights or [1 / len(parts)] * len(parts)
    mean = math.fsum(share * part.mean for share, part in zip(shares, parts, strict=True))
    return normal_interval(mean, macro_error([part.error for part in parts], shares))


def macro_error(errors: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Standard error of the mean of independent means: the root of the sum of weighted squares.

    `weights` sum to 1; without them all means count the same.
    """
    shares = weights or [1 / len(errors)] * len(errors)
    squares = ((share * error) ** 2 for share, error in zip(shares, errors, strict=True))
    return math.sqrt(math.fsum(squares))
