"""The blows: what each needs of a run, and what it does to it."""

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

#: Seconds that what is broken stays so, at least and at most.
AWAY_S = (0.5, 8.0)
#: A node that is down keeps its jobs' processes until they are killed: back before that, SLURM's
#: controller starts a job beside itself there, and may die of it.
DOWN_S = (9.0, 15.0)
FROZEN_S = (1.0, 14.0)
#: Seconds that a job of another partition holds the node that it took.
PREEMPTION_S = 2


@dataclass(frozen=True)
class Blow:
    """An act that is possible now."""

    kind: str
    strike: Callable[[], str]
    """Does it, and returns words for the log; empty where its victim was gone."""


class Blows:
    """Every blow that one run may get; what it did is noted in the ledger."""

    def __init__(self, cluster: Cluster, ledger: Ledger, chance: Random) -> None:
        self.cluster, self.ledger, self.chance = cluster, ledger, chance
        self.undoing: list[Timer] = []

    def possible(self, sight: Sight) -> list[Blow]:
        """All that can be done now, one of each kind; its victim is drawn."""
        found = [*self.kills(sight), *self.freezes(sight)]
        if sight.queue is None:
            return found
        for is_gate, what in ((False, "worker"), (True, "gate")):
            if jobs := sight.running(is_gate):
                found += self.of_job(self.chance.choice(jobs), what)
        if not self.cluster.is_rested:
            return found
        found.append(Blow("kill_controller", self.kill_controller))
        if sight.launched_just_now:
            found.append(Blow("kill_controller_after_launch", self.kill_controller))
        return found

    def kills(self, sight: Sight) -> list[Blow]:
        """SIGKILL to one process."""
        processes = sight.processes
        found = []
        gates = [
            pid for pid in processes.of["gate"] if self.ledger.may_kill_gate(processes.jobs[pid])
        ]
        for kind, pids in {**processes.of, "gate": gates}.items():
            if pids:
                pid = self.chance.choice(pids)
                found.append(Blow(f"kill_{kind}", partial(self.kill, pid, sight)))
        return found

    def kill(self, pid: int, sight: Sight) -> str:
        """Kill a process; of a gate it is noted how often."""
        if pid in sight.processes.of["gate"]:
            self.ledger.gate_kills[sight.processes.jobs[pid]] += 1
        return f"process {pid} of {sight.processes.nodes[pid]}" if send(pid, signal.SIGKILL) else ""

    def freezes(self, sight: Sight) -> list[Blow]:
        """SIGSTOP to processes that go on some seconds later."""
        of = sight.processes.of
        groups = {
            "freeze_supervisor": of["supervisor"],
            "freeze_child": of["child"],
            "freeze_gate": of["gate"],
            "freeze_launch": [p for p in sight.launches if p not in self.ledger.frozen_launches],
        }
        return [
            Blow(kind, partial(self.freeze, self.chance.choice(pids)))
            for kind, pids in groups.items()
            if pids
        ]

    def freeze(self, pid: int) -> str:
        """Stop a process and let it go on later."""
        self.ledger.frozen_launches.add(pid)
        seconds = self.chance.uniform(*FROZEN_S)
        if not send(pid, signal.SIGSTOP):
            return ""
        self.later(seconds, lambda: go_on([pid]))
        return f"process {pid} for {seconds:.1f} s"

    def of_job(self, job: QueuedJob, what: str) -> list[Blow]:
        """What may happen to a job that runs, and to its node."""
        return [
            Blow(f"cancel_{what}", lambda: self.cancel(job)),
            Blow(f"requeue_{what}", lambda: self.run_command("scontrol", "requeue", job.element)),
            Blow(f"preempt_{what}", lambda: self.preempt(job.host)),
            Blow(f"drain_host_of_{what}", lambda: self.disable_host(job.host, "drain")),
            Blow(f"down_host_of_{what}", lambda: self.disable_host(job.host, "down")),
        ]

    def cancel(self, job: QueuedJob) -> str:
        """scancel, which a person does and which only a person's line mends."""
        self.ledger.cancelled.add(job.node)
        return self.run_command("scancel", job.element)

    def run_command(self, *argv: str) -> str:
        """Give SLURM an order."""
        read_command_output(*argv)
        return " ".join(argv)

    def preempt(self, host: str) -> str:
        """Take a node for a job of another partition, for a moment."""
        taker = ["--partition=high", f"--nodelist={host}", "--exclusive", "--time=1"]
        reply = read_command_output(
            "sbatch", *taker, "--output=/dev/null", f"--wrap=sleep {PREEMPTION_S}"
        )
        return f"{host}: {reply.strip()}"

    def disable_host(self, host: str, state: str) -> str:
        """Drain a node, or set it down, and bring it back."""
        with self.cluster.alone() as mine:
            if not mine:
                return ""
            seconds = self.chance.uniform(*(DOWN_S if state == "down" else AWAY_S))
            self.cluster.disable_host(host, state, seconds)
        return f"{host} {state} for {seconds:.1f} s"

    def kill_controller(self) -> str:
        """Kill slurmctld and start it again."""
        with self.cluster.alone() as mine:
            if not mine:
                return ""
            seconds = self.chance.uniform(*AWAY_S)
            self.cluster.kill_controller(seconds)
        return f"away for {seconds:.1f} s"

    def later(self, seconds: float, undo: Callable[[], None]) -> None:
        """Undo something after some seconds."""
        timer = Timer(seconds, undo)
        timer.start()
        self.undoing = [one for one in self.undoing if one.is_alive()] + [timer]

    def wait_for_undone(self) -> None:
        """Wait until nothing is stopped any more."""
        for timer in self.undoing:
            timer.join(FROZEN_S[1] + 1)
