"""Record of the faults injected into one run since its last launch."""

import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.chaos.queued_jobs import QueuedJob
from benchmarks.chaos.run_processes import RunProcesses

#: Tries of a gate within one job: a killed gate is restarted, three tries in all.
GATE_TRIES = 3


@dataclass
class Ledger:
    """The faults injected into a run."""

    launched_at: float = 0.0
    """Time of the last launch, in seconds since the epoch."""
    cancelled: set[str] = field(default_factory=set)
    """Nodes with a job that was cancelled since the last launch."""
    given: int = 0
    """Number of launches."""
    is_launching: bool = False
    frozen_launches: set[int] = field(default_factory=set)
    """Process ids of launches that were stopped once; once is enough."""
    gate_kills: Counter[str] = field(default_factory=Counter)
    """By job id."""

    def begin(self) -> None:
        """Record a launch."""
        self.launched_at = time.time()
        self.given += 1
        self.is_launching = True
        self.cancelled.clear()

    def may_kill_gate(self, job: str) -> bool:
        """Whether the gate has a try left after another kill."""
        return self.gate_kills[job] < GATE_TRIES - 1


@dataclass(frozen=True)
class Sight:
    """The possible targets in one run."""

    queue: list[QueuedJob] | None
    """None if the controller does not respond."""
    processes: RunProcesses
    launches: list[int]
    """Process ids of running launches."""
    launched_just_now: bool
    """Whether a launch ended within the last two seconds."""

    def running(self, is_gate: bool) -> list[QueuedJob]:
        """Return the running gates or workers."""
        queue = self.queue or []
        return [job for job in queue if job.state == "RUNNING" and job.is_gate is is_gate]

    @property
    def is_empty(self) -> bool:
        """Whether the run has no job in the queue and no process; False if unknown."""
        rest = self.launches or any(self.processes.of.values())
        return self.queue == [] and not rest
