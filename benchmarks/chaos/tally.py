"""What a campaign counts, and its log."""

import copy
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

#: Faults that are told in words; all are counted.
MAX_MESSAGES = 40


@dataclass
class Tally:
    """Counts of a whole campaign."""

    runs: int = 0
    acts: Counter[str] = field(default_factory=Counter)
    relaunches: Counter[str] = field(default_factory=Counter)
    """By the reason that allows them."""
    refused_launches: int = 0
    """Launches that submitted not all and said that they are to be tried again, with 69 or 75."""
    releases: int = 0
    """Jobs that SLURM held as their node could not start them, and that a person had to release."""
    nodes_resumed: int = 0
    """Nodes that SLURM left down, drained or without an answer, and that a person had to resume."""
    slurmds_restarted: int = 0
    """Daemons of nodes that were gone though nobody had ended them."""
    ghosts: int = 0
    """Jobs whose end a killed controller had forgotten, and that a person had to cancel."""
    crashes: int = 0
    """Times that SLURM's controller died of itself."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Answers of `status`: states of nodes, and `blind` ones while the controller was away."""
    slowest_status_s: float = 0.0
    rows: Counter[str] = field(default_factory=Counter)
    """in, out, rejected, and each way in which rows may be wrong."""
    faults: Counter[str] = field(default_factory=Counter)
    """What went wrong, by kind."""
    messages: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def fault(self, kind: str, text: str) -> None:
        """Note what the product did wrong."""
        with self.lock:
            self.faults[kind] += 1
            if len(self.messages) < MAX_MESSAGES:
                self.messages.append(f"{kind}: {text}")
        print_progress(f"FAULT {kind}: {text}")

    def values(self) -> dict[str, Any]:
        """For the last line of the campaign."""
        values = {name: value for name, value in vars(self).items() if name != "lock"}
        values = copy.deepcopy(values)
        return values | {"good": not self.faults and self.runs > 0}


def print_progress(text: str) -> None:
    """Show how far this is."""
    print(f"{time.strftime('%T')} {text}", file=sys.stderr, flush=True)
