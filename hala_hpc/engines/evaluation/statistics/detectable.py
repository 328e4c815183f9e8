"""The smallest difference that a comparison could have found with a power of 80 %.

For McNemar's test it is that of the exact test, at the observed share of discordant items; a
formula of the normal distribution would give too small a difference for small tasks.
"""

from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Any

from hala_hpc.engines.evaluation.statistics.paired import null_error
from hala_hpc.engines.evaluation.statistics.task_items import PairedTask

POWER = 0.8
#: Standard deviations around the expected number of discordant items; more add nothing.
SPREAD = 6
#: Precision of the difference, in shares of items.
TOLERANCE = 1e-5


def smallest_detectable(tasks: Sequence[PairedTask], level: float) -> float | None:
    """The true mean difference that a two-sided test at this level finds with a power of 80 %.

    None if the items are too few for any difference.
    """
    if len(tasks) == 1 and tasks[0].is_sign_test:
        items = len(tasks[0].differences)
        return mcnemar_detectable(items, sum(tasks[0].count_discordant()) / items, level)
    normal = NormalDist()
    error = null_error(tasks)
    # Equal answers to all items do not show how much two other models would differ.
    return (normal.inv_cdf(1 - level / 2) + normal.inv_cdf(POWER)) * error if error else None


def mcnemar_detectable(items: int, discordant: float, level: float) -> float | None:
    """The same for McNemar's test, at this share of discordant items."""
    from scipy.optimize import brentq

    if mcnemar_power(items, discordant, 1.0, level) < POWER:
        return None
    found = brentq(
        lambda size: mcnemar_power(items, discordant, size, level) - POWER, 0, 1, xtol=TOLERANCE
    )
    return float(found)


def mcnemar_power(items: int, discordant: float, difference: float, level: float) -> float:
    """Probability that McNemar's exact test at this level rejects.

    `difference` is the true difference of the two shares of correct answers; if it is larger than
    the share of discordant items, that many items differ, all in one direction.
    """
    import numpy as np
    from scipy.special import bdtr, bdtrc

    discordant = min(1.0, max(discordant, difference))
    if discordant <= 0:
        return 0.0
    gain = 0.5 + difference / (2 * discordant)
    center, width = items * discordant, SPREAD * (items * discordant * (1 - discordant)) ** 0.5 + 1
    counts = np.arange(max(1, int(center - width)), min(items, int(center + width) + 1) + 1)
    limits = find_rejection_limits(items, level)[counts]
    rejected = bdtr(limits, counts, gain) + bdtrc(counts - limits - 1, counts, gain)
    rejected = np.where(limits < 0, 0.0, rejected)
    below = bdtr(counts - 1.0, items, discordant)
    return float(((bdtr(counts.astype(float), items, discordant) - below) * rejected).sum())


@lru_cache(maxsize=256)
def find_rejection_limits(items: int, level: float) -> Any:
    """Where McNemar's test at this level still rejects, for 0 to `items` discordant items.

    The largest number of them on the rarer side; -1 for none. Array of shape (items + 1,).
    """
    import numpy as np
    from scipy.special import bdtr, bdtrik

    counts = np.arange(1, items + 1)
    limits = np.floor(np.nan_to_num(bdtrik(level / 2, counts, 0.5)))
    limits -= bdtr(limits, counts, 0.5) > level / 2
    return np.concatenate(([-1.0], limits))
