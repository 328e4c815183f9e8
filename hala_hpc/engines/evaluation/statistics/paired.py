"""Paired differences of two models: exact tests, and bootstrap intervals.

The mean of several tasks is tested as their mean by weight; one task is the mean of one. The test
flips the sign of each item's difference, or of each cluster's: if the models are equal, both signs
are equally likely. With independent items that are won or lost it is McNemar's exact test.
A bootstrap p-value is no substitute: it rejects too often with few clusters.
"""

import math
from collections.abc import Sequence
from typing import Any

from hala_hpc.engines.evaluation.statistics.intervals import CONFIDENCE, macro_error
from hala_hpc.engines.evaluation.statistics.task_items import PairedTask, weights_of

#: Random signs and bootstrap samples; the smallest p-value is 1 / 10,001, small enough for
#: Holm's correction of 500 rows.
RESAMPLES = 10_000
#: Sums that differ by rounding only are equal.
ROUNDING_DIGITS = 12
ROUNDING = 10.0**-ROUNDING_DIGITS
#: Numbers of a bootstrap step in memory: 32 MB.
MAX_COUNTS = 4_000_000


def mean_difference(tasks: Sequence[PairedTask]) -> float:
    """Mean over tasks, by their weights, of the mean difference of their items."""
    means = [math.fsum(task.differences) / len(task.differences) for task in tasks]
    return math.fsum(w * mean for w, mean in zip(weights_of(tasks), means, strict=True))


def mcnemar_p_value(gains: int, losses: int) -> float:
    """Two-sided p-value of McNemar's exact test; 1 if no item is discordant."""
    from scipy.stats import binomtest

    return float(binomtest(gains, gains + losses, 0.5).pvalue) if gains + losses else 1.0


def paired_p_value(tasks: Sequence[PairedTask], seed: int, resamples: int = RESAMPLES) -> float:
    """Two-sided p-value of the mean difference being zero.

    Exact for one task of McNemar's case, else by that many random signs.
    """
    if len(tasks) == 1 and tasks[0].is_sign_test:
        return mcnemar_p_value(*tasks[0].count_discordant())
    import numpy as np

    generator = np.random.default_rng(seed)
    drawn = np.zeros(resamples)
    for task, weight in zip(tasks, weights_of(tasks), strict=True):
        sums, _, numbers = count_clusters(task)
        # Equal sums share one draw of a binomial: items of 0 and 1 have a single sum.
        scale = len(task.differences) / weight
        for size in np.unique(np.abs(sums[sums != 0])):
            count = numbers[np.abs(sums) == size].sum()
            positive = generator.binomial(count, 0.5, resamples)
            drawn += (2 * positive - count) * size / scale
    extreme = np.abs(drawn) >= abs(mean_difference(tasks)) - ROUNDING
    return float((1 + extreme.sum()) / (1 + resamples))


def difference_interval(
    tasks: Sequence[PairedTask], seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % interval of the mean difference: percentiles of a bootstrap of items, or clusters."""
    import numpy as np

    generator = np.random.default_rng(seed)
    means = sum(
        weight * bootstrap_means(task, generator, resamples)
        for task, weight in zip(tasks, weights_of(tasks), strict=True)
    )
    tail = (1 - CONFIDENCE) / 2
    return float(np.quantile(means, tail)), float(np.quantile(means, 1 - tail))


def bootstrap_means(task: PairedTask, generator: Any, resamples: int) -> Any:
    """Mean difference in each bootstrap sample of one task; array of shape (resamples,)."""
    import numpy as np

    sums, sizes, numbers = count_clusters(task)
    clusters = int(numbers.sum())
    step = max(1, MAX_COUNTS // len(numbers))
    parts = []
    for start in range(0, resamples, step):
        # Equal clusters are drawn together, as a multinomial.
        drawn = generator.multinomial(clusters, numbers / clusters, min(step, resamples - start))
        parts.append((drawn @ sums) / (drawn @ sizes))
    return np.concatenate(parts)


def null_error(tasks: Sequence[PairedTask]) -> float:
    """Standard error of the mean difference of equal models: its deviation over random signs."""
    errors = []
    for task in tasks:
        sums, _, numbers = count_clusters(task)
        errors.append(math.sqrt(float((numbers * sums**2).sum())) / len(task.differences))
    return macro_error(errors, weights_of(tasks))


def count_clusters(task: PairedTask) -> tuple[Any, Any, Any]:
    """Sum of differences, number of items, and number of equal clusters, of each kind of cluster.

    Independent items are clusters of one. All arrays are of shape (kinds,).
    """
    import numpy as np

    differences = np.asarray(task.differences, dtype=float)
    if task.clusters is None:
        kinds, numbers = np.unique(np.round(differences, ROUNDING_DIGITS), return_counts=True)
        return kinds, np.ones(len(kinds)), numbers
    _, index = np.unique(np.asarray(task.clusters), return_inverse=True)
    rows = np.column_stack((np.bincount(index, weights=differences), np.bincount(index)))
    kinds, numbers = np.unique(np.round(rows, ROUNDING_DIGITS), axis=0, return_counts=True)
    return kinds[:, 0], kinds[:, 1], numbers
