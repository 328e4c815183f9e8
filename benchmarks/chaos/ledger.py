"""What was done to one run since its line was given last: what may end it, and what may not."""

import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.chaos.queued_jobs import QueuedJob
from benchmarks.chaos.run_processes import RunProcesses

#: A job's own bound: a gate that is killed is started again, three times in all.
GATE_TRIES = 3


@dataclass
class Ledger:
    """The blows that a run got."""

    launched_at: float = 0.0
    """When its line was given last, in seconds since the epoch."""
    cancelled: set[str] = field(default_factory=set)
    """Nodes of which a job was cancelled since then."""
    given: int = 0
    """How often its line was given."""
    is_launching: bool = False
    frozen_launches: set[int] = field(default_factory=set)
    """Process numbers of launches that were stopped once, which is enough."""
    gate_kills: Counter[str] = field(default_factory=Counter)
    """By id of the job."""

    def begin(self) -> None:
        """The line is given."""
        self.launched_at = time.time()
        self.given += 1
        self.is_launching = True
        self.cancelled.clear()

    def may_kill_gate(self, job: str) -> bool:
        """Whether another kill leaves the gate a try."""
        return self.gate_kills[job] < GATE_TRIES - 1


@dataclass(frozen=True)
class Sight:
    """What there is to strike of one run."""

    queue: list[QueuedJob] | None
    """None where the controller does not answer."""
    processes: RunProcesses
    launches: list[int]
    """Process numbers of launches at work."""
    launched_just_now: bool
    """Whether a launch ended within the last two seconds."""

    def running(self, is_gate: bool) -> list[QueuedJob]:
        """Gates or workers that run."""
        queue = self.queue or []
        return [job for job in queue if job.state == "RUNNING" and job.is_gate is is_gate]

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the run is in the queue or at work; never where nobody knows."""
        rest = self.launches or any(self.processes.of.values())
        return self.queue == [] and not rest
