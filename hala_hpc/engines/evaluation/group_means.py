"""Scores of groups of groups: the mean of their members, as a leaderboard shows it."""

import math
from collections.abc import Mapping
from statistics import fmean

from hala_hpc.engines.evaluation.score_files import ModelScores
from hala_hpc.engines.evaluation.statistics.intervals import macro_error, reported_interval


def add_means_of_members(found: ModelScores, metrics: Mapping[str, str]) -> None:
    """Add the mean of its members' scores for each group, with its standard error.

    `metrics`: metric of each group. A group without the scores of all its members gets none.
    """
    for group, metric in metrics.items():
        keys = [f"{member}/{metric}" for member in found.groups.get(group, [])]
        if not keys or any(key not in found.scores for key in keys):
            continue
        key = f"{group}/{metric}"
        score = found.scores[key] = fmean(found.scores[member] for member in keys)
        errors = [found.errors.get(member, math.nan) for member in keys]
        if all(math.isfinite(error) for error in errors):
            found.errors[key] = macro_error(errors)
            interval = reported_interval(score, found.errors[key], None)
            found.intervals[key] = (interval.low, interval.high)
