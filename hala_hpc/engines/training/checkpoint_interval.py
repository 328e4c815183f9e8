"""Interval between checkpoints if the settings leave it open.

Young's first-order optimum (J. W. Young, "A first order approximation to the optimum checkpoint
interval", Communications of the ACM 17(9), 1974): the interval between two checkpoints is
sqrt(2 * C * M), with C the seconds to save one and M the mean time between two stops. Daly's
refinement (Future Generation Computer Systems 22, 2006) differs by less than C if C is small
compared with M. The bounds below ensure that.
"""

import math
import time

from hala_hpc.engines.training.settings import TrainingSettings

#: Bounds of the seconds between two checkpoints.
MIN_INTERVAL_S = 60.0
MAX_INTERVAL_S = 3600.0
#: The interval is at least ten times the time of saving.
MIN_INTERVAL_PER_COST = 10.0
#: First estimate: bytes of a checkpoint for each byte of 16-bit weights (the weights, a float32
#: copy and Adam's two moments), and the write rate of one job on a shared file system.
STATE_FACTOR = 7
DISK_BYTES_PER_S = 500e6


class SavingClock:
    """Measures the time of saving and decides when it is due. Each rank has one; they vote."""

    def __init__(self, settings: TrainingSettings, weight_bytes: int) -> None:
        self.settings = settings
        self.cost_s = weight_bytes * STATE_FACTOR / DISK_BYTES_PER_S
        self.is_measured = False
        self.saved_at = time.monotonic()
        self.savings = 0

    @property
    def interval_s(self) -> float | None:
        """Seconds from one checkpoint to the next; None if time does not decide."""
        minutes = self.settings.save_every_min
        if minutes is not None:
            return 60 * minutes or None
        return young_interval_s(self.cost_s, 60 * self.settings.mean_uptime_min)

    def is_due(self) -> bool:
        """Whether the interval since the last checkpoint has passed."""
        interval_s = self.interval_s
        return interval_s is not None and time.monotonic() - self.saved_at >= interval_s

    def record_saving(self, seconds: float) -> None:
        """Record the seconds in which a checkpoint was saved and verified."""
        self.cost_s, self.is_measured = seconds, True
        self.savings += 1
        self.saved_at = time.monotonic()

    def figures(self) -> dict[str, float | int | None]:
        """Return the number, the duration and the interval of checkpoints."""
        interval_s = self.interval_s
        return {
            "savings": self.savings,
            "save_s": round(self.cost_s, 3) if self.is_measured else None,
            "save_every_s": round(interval_s, 1) if interval_s else None,
        }


def young_interval_s(cost_s: float, uptime_s: float) -> float:
    """Return Young's interval in seconds, within the bounds."""
    interval_s = math.sqrt(2 * cost_s * uptime_s)
    return max(min(interval_s, MAX_INTERVAL_S), MIN_INTERVAL_S, MIN_INTERVAL_PER_COST * cost_s)
