"""Counters of a campaign, and its log."""

import copy
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

#: Maximum number of faults with a message; all are counted.
MAX_MESSAGES = 40


@dataclass
class Tally:
    """Counters of a campaign."""

    runs: int = 0
    acts: Counter[str] = field(default_factory=Counter)
    relaunches: Counter[str] = field(default_factory=Counter)
    """By the reason that allows them."""
    refused_launches: int = 0
    """Launches that submitted only a part and exited with 69 or 75, to be tried again."""
    releases: int = 0
    """Jobs that SLURM held because their node could not start them, released by hand."""
    nodes_resumed: int = 0
    """Nodes that SLURM left down, drained or unresponsive, resumed by hand."""
    slurmds_restarted: int = 0
    """Daemons of nodes that ended by themselves."""
    ghosts: int = 0
    """Jobs whose end a killed controller had forgotten, cancelled by hand."""
    crashes: int = 0
    """Crashes of slurmctld."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Answers of `status`: states of nodes, and `blind` ones while the controller was away."""
    slowest_status_s: float = 0.0
    rows: Counter[str] = field(default_factory=Counter)
    """in, out, rejected, and each kind of wrong rows."""
    faults: Counter[str] = field(default_factory=Counter)
    """Faults of the product by kind."""
    messages: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def fault(self, kind: str, text: str) -> None:
        """Record a fault of the product."""
        with self.lock:
            self.faults[kind] += 1
            if len(self.messages) < MAX_MESSAGES:
                self.messages.append(f"{kind}: {text}")
        print_progress(f"FAULT {kind}: {text}")

    def values(self) -> dict[str, Any]:
        """Return the values for the last line of the campaign."""
        values = {name: value for name, value in vars(self).items() if name != "lock"}
        values = copy.deepcopy(values)
        return values | {"good": not self.faults and self.runs > 0}


def print_progress(text: str) -> None:
    """Print the progress."""
    print(f"{time.strftime('%T')} {text}", file=sys.stderr, flush=True)
