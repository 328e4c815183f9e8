"""Scores of all models from the score files of their units: shards joined, groups averaged.

Runs in the gate, so it reads the score files only and imports no library. Means and their standard
errors are those that lm-eval computes over all items at once. A group weighted by size has the
pooled standard error of lm-eval, any other that of a mean of independent means.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from hala_hpc.engines.evaluation.score_files import (
    GroupMean,
    MergedScores,
    ModelScores,
    ScoreSum,
    TaskGroup,
)
from hala_hpc.engines.evaluation.statistics.intervals import macro_error, reported_interval


def merge_scores(found: Iterable[ModelScores], labels: Sequence[str]) -> MergedScores:
    """The scores of all models, in the order of their labels."""
    units = list(found)
    models = {label: join_units([one for one in units if one.label == label]) for label in labels}
    first = next(iter(models.values()))
    return MergedScores(
        scores={label: one.scores for label, one in models.items()},
        errors={label: one.errors for label, one in models.items()},
        intervals={label: one.intervals for label, one in models.items()},
        samples={label: one.samples for label, one in models.items()},
        signatures={label: one.signatures for label, one in models.items()},
        excluded=first.excluded,
        entries=map_entries(units),
        groups=first.groups,
        metrics=first.metrics,
    )


def map_entries(units: Iterable[ModelScores]) -> dict[str, tuple[str, ...]]:
    """The tasks of each entry of `tasks`; a task that several entries have is in the first."""
    found: dict[str, dict[str, None]] = {}
    owners: dict[str, str] = {}
    for unit in units:
        for task in unit.metrics:
            if owners.setdefault(task, unit.entry) == unit.entry:
                found.setdefault(unit.entry, {})[task] = None
    return {entry: tuple(tasks) for entry, tasks in found.items()}


def join_units(units: Sequence[ModelScores]) -> ModelScores:
    """All scores of one model from its units: means of tasks over their shards, then groups."""
    sums: dict[str, ScoreSum] = {}
    scores: dict[str, float] = {}
    samples: dict[str, int] = {}
    excluded: dict[str, dict[str, int]] = {}
    owners: dict[str, str] = {}
    for unit in units:
        scores |= unit.scores
        for task, number in unit.samples.items():
            # A task that two entries have was evaluated in both.
            if owners.setdefault(task, unit.entry) != unit.entry:
                continue
            samples[task] = samples.get(task, 0) + number
            add_counts(excluded, task, unit.excluded.get(task, {}))
        for key, value in unit.sums.items():
            if owners.get(key.partition("/")[0]) == unit.entry:
                sums[key] = add_sums(sums.get(key), value)
    groups = {name: group for unit in units for name, group in unit.groups.items()}
    errors = {key: error for unit in units for key, error in unit.errors.items()}
    intervals = {key: bounds for unit in units for key, bounds in unit.intervals.items()}
    for key, value in sums.items():
        scores[key] = value.total / value.items
        if (error := mean_error(value)) is not None:
            errors[key] = error
    add_scores_of_groups(groups, (scores, errors, samples))
    for key in scores.keys() & errors.keys():
        # Only tasks have a number of samples: the score of a group is a mean of tasks.
        items = samples.get(key.partition("/")[0])
        interval = reported_interval(scores[key], errors[key], items)
        intervals.setdefault(key, (interval.low, interval.high))
    return ModelScores(
        scores=order_scores(scores, groups),
        errors=errors,
        intervals=intervals,
        signatures={k: text for unit in units for k, text in unit.signatures.items()},
        samples=samples,
        excluded=excluded,
        metrics={k: metric for unit in units for k, metric in unit.metrics.items()},
        groups=groups,
    )


def add_counts(found: dict[str, dict[str, int]], task: str, counts: dict[str, int]) -> None:
    """Add the excluded items of one shard of a task."""
    for reason, number in counts.items():
        by_reason = found.setdefault(task, {})
        by_reason[reason] = by_reason.get(reason, 0) + number


def add_sums(first: ScoreSum | None, second: ScoreSum) -> ScoreSum:
    """The sums over the items of two shards."""
    if first is None:
        return second
    clusters = dict(first.clusters)
    for name, (items, total) in second.clusters.items():
        before = clusters.get(name, (0, 0.0))
        clusters[name] = (before[0] + items, before[1] + total)
    return ScoreSum(
        items=first.items + second.items,
        total=first.total + second.total,
        squares=first.squares + second.squares,
        clusters=clusters,
    )


def mean_error(value: ScoreSum) -> float | None:
    """Standard error of the mean, of the sample's variance; None for a single item or cluster.

    That of clusters is Miller's, as in `statistics/intervals.py`; with one item in each the same.
    """
    if value.items < 2 or len(value.clusters) == 1:
        return None
    if value.clusters:
        mean, groups = value.total / value.items, len(value.clusters)
        sums = [total - items * mean for items, total in value.clusters.values()]
        squares = math.fsum(one**2 for one in sums)
        return math.sqrt(squares * groups / (groups - 1)) / value.items
    spread = max(0.0, value.squares - value.total**2 / value.items)
    return math.sqrt(spread / (value.items - 1) / value.items)


def add_scores_of_groups(
    groups: Mapping[str, TaskGroup],
    found: tuple[dict[str, float], dict[str, float], dict[str, int]],
) -> None:
    """Add the scores of all groups, those that are means of other groups last."""
    for name, group in groups.items():
        add_group_scores(name, group, found)
    for name, group in groups.items():
        add_member_mean(name, group, found[0], found[1])


def add_group_scores(
    name: str,
    group: TaskGroup,
    found: tuple[dict[str, float], dict[str, float], dict[str, int]],
) -> None:
    """Add the scores of a group to scores and errors; `found`: these two, and numbers of items."""
    scores, errors, samples = found
    for mean in group.means:
        for metric in metrics_of_group(mean, group.tasks, scores):
            tasks = [task for task in group.tasks if f"{task}/{metric}" in scores]
            means = [scores[f"{task}/{metric}"] for task in tasks]
            sizes = [samples[task] if mean.is_weighted else 1 for task in tasks]
            weighted = [score * size for score, size in zip(means, sizes, strict=True)]
            scores[f"{name}/{metric}"] = math.fsum(weighted) / sum(sizes)
            known = [errors[f"{task}/{metric}"] for task in tasks if f"{task}/{metric}" in errors]
            if len(known) == len(tasks):
                errors[f"{name}/{metric}"] = (
                    pooled_error(known, sizes) if mean.is_weighted else macro_error(known)
                )


def add_member_mean(
    name: str, group: TaskGroup, scores: dict[str, float], errors: dict[str, float]
) -> None:
    """Add the mean of its members' scores; a group without the scores of all members gets none."""
    keys = [f"{member}/{group.member_metric}" for member in group.members]
    if not group.member_metric or not keys or any(key not in scores for key in keys):
        return
    key = f"{name}/{group.member_metric}"
    scores[key] = fmean(scores[member] for member in keys)
    errors.pop(key, None)
    if all(member in errors for member in keys):
        errors[key] = macro_error([errors[member] for member in keys])


def metrics_of_group(mean: GroupMean, tasks: Sequence[str], scores: dict[str, float]) -> list[str]:
    """The metrics that a group averages: one for each filter of answers."""
    if mean.filters is not None:
        names = [mean.metric if one == "none" else f"{mean.metric}@{one}" for one in mean.filters]
    else:
        every = [key.partition("/") for key in scores]
        names = sorted(
            {
                metric
                for task, _, metric in every
                if task in tasks and metric.partition("@")[0] == mean.metric
            }
        )
    return [name for name in names if any(f"{task}/{name}" in scores for task in tasks)]


def pooled_error(errors: Sequence[float], sizes: Sequence[int]) -> float:
    """Standard error of a mean of tasks weighted by size, as lm-eval 0.4.13 pools it."""
    weighted = [(size - 1) * error**2 * size for error, size in zip(errors, sizes, strict=True)]
    degrees = sum(sizes) - len(sizes)
    return math.sqrt(math.fsum(weighted) / degrees / sum(sizes)) if degrees else 0.0


def order_scores(scores: dict[str, float], groups: Iterable[str]) -> dict[str, float]:
    """The scores with those of groups before those of tasks."""
    names = set(groups)
    return dict(sorted(scores.items(), key=lambda one: one[0].partition("/")[0] not in names))
