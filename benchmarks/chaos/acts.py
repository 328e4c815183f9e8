"""The injected faults: their preconditions and effects."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from threading import Timer

from benchmarks.chaos.cluster import Cluster
from benchmarks.chaos.ledger import Ledger, Sight
from benchmarks.chaos.queued_jobs import QueuedJob
from benchmarks.chaos.run_processes import go_on, send
from benchmarks.common.own_slurm import read_command_output

#: Minimum and maximum duration of a fault in seconds.
AWAY_S = (0.5, 8.0)
#: The same for a node that is down. It keeps its jobs' processes until they are killed. If it is
#: back before that, slurmctld starts a second copy of a job there and may crash.
DOWN_S = (9.0, 15.0)
FROZEN_S = (1.0, 14.0)
#: Seconds that a job of another partition occupies the preempted node.
PREEMPTION_S = 2


@dataclass(frozen=True)
class Injection:
    """A fault that can be injected now."""

    kind: str
    strike: Callable[[], str]
    """Injects it and returns a text for the log; empty if its target no longer exists."""


class FaultInjector:
    """All faults for one run; injected faults are recorded in the ledger."""

    def __init__(self, cluster: Cluster, ledger: Ledger, chance: Random) -> None:
        self.cluster, self.ledger, self.chance = cluster, ledger, chance
        self.undoing: list[Timer] = []

    def possible(self, sight: Sight) -> list[Injection]:
        """Return all faults that are possible now, one of each kind; their targets are drawn."""
        found = [*self.kills(sight), *self.freezes(sight)]
        if sight.queue is None:
            return found
        for is_gate, what in ((False, "worker"), (True, "gate")):
            if jobs := sight.running(is_gate):
                found += self.of_job(self.chance.choice(jobs), what)
        if not self.cluster.is_rested:
            return found
        found.append(Injection("kill_controller", self.kill_controller))
        if sight.launched_just_now:
            found.append(Injection("kill_controller_after_launch", self.kill_controller))
        return found

    def kills(self, sight: Sight) -> list[Injection]:
        """Return the SIGKILL faults, each for one process."""
        processes = sight.processes
        found = []
        gates = [
            pid for pid in processes.of["gate"] if self.ledger.may_kill_gate(processes.jobs[pid])
        ]
        for kind, pids in {**processes.of, "gate": gates}.items():
            if pids:
                pid = self.chance.choice(pids)
                found.append(Injection(f"kill_{kind}", partial(self.kill, pid, sight)))
        return found

    def kill(self, pid: int, sight: Sight) -> str:
        """Kill a process; kills of a gate are counted."""
        if pid in sight.processes.of["gate"]:
            self.ledger.gate_kills[sight.processes.jobs[pid]] += 1
        return f"process {pid} of {sight.processes.nodes[pid]}" if send(pid, signal.SIGKILL) else ""

    def freezes(self, sight: Sight) -> list[Injection]:
        """Return the SIGSTOP faults; the processes continue some seconds later."""
        of = sight.processes.of
        groups = {
            "freeze_supervisor": of["supervisor"],
            "freeze_child": of["child"],
            "freeze_gate": of["gate"],
            "freeze_launch": [p for p in sight.launches if p not in self.ledger.frozen_launches],
        }
        return [
            Injection(kind, partial(self.freeze, self.chance.choice(pids)))
            for kind, pids in groups.items()
            if pids
        ]

    def freeze(self, pid: int) -> str:
        """Stop a process and continue it later."""
        self.ledger.frozen_launches.add(pid)
        seconds = self.chance.uniform(*FROZEN_S)
        if not send(pid, signal.SIGSTOP):
            return ""
        self.later(seconds, lambda: go_on([pid]))
        return f"process {pid} for {seconds:.1f} s"

    def of_job(self, job: QueuedJob, what: str) -> list[Injection]:
        """Return the faults for a running job and its node."""
        return [
            Injection(f"cancel_{what}", lambda: self.cancel(job)),
            Injection(
                f"requeue_{what}", lambda: self.run_command("scontrol", "requeue", job.element)
            ),
            Injection(f"preempt_{what}", lambda: self.preempt(job.host)),
            Injection(f"drain_host_of_{what}", lambda: self.disable_host(job.host, "drain")),
            Injection(f"down_host_of_{what}", lambda: self.disable_host(job.host, "down")),
        ]

    def cancel(self, job: QueuedJob) -> str:
        """Cancel a job, as a user does; only a relaunch by the user continues after that."""
        self.ledger.cancelled.add(job.node)
        return self.run_command("scancel", job.element)

    def run_command(self, *argv: str) -> str:
        """Run a SLURM command."""
        read_command_output(*argv)
        return " ".join(argv)

    def preempt(self, host: str) -> str:
        """Preempt a node for a short time by a job of another partition."""
        taker = ["--partition=high", f"--nodelist={host}", "--exclusive", "--time=1"]
        reply = read_command_output(
            "sbatch", *taker, "--output=/dev/null", f"--wrap=sleep {PREEMPTION_S}"
        )
        return f"{host}: {reply.strip()}"

    def disable_host(self, host: str, state: str) -> str:
        """Drain a node or set it down, and return it to service."""
        with self.cluster.alone() as mine:
            if not mine:
                return ""
            seconds = self.chance.uniform(*(DOWN_S if state == "down" else AWAY_S))
            self.cluster.disable_host(host, state, seconds)
        return f"{host} {state} for {seconds:.1f} s"

    def kill_controller(self) -> str:
        """Kill slurmctld and restart it."""
        with self.cluster.alone() as mine:
            if not mine:
                return ""
            seconds = self.chance.uniform(*AWAY_S)
            self.cluster.kill_controller(seconds)
        return f"away for {seconds:.1f} s"

    def later(self, seconds: float, undo: Callable[[], None]) -> None:
        """Undo a fault after some seconds."""
        timer = Timer(seconds, undo)
        timer.start()
        self.undoing = [one for one in self.undoing if one.is_alive()] + [timer]

    def wait_for_undone(self) -> None:
        """Wait until no process is stopped any more."""
        for timer in self.undoing:
            timer.join(FROZEN_S[1] + 1)
