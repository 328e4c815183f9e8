"""One run of a node whose jobs are killed repeatedly, then finished and checked."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from benchmarks.common.rows_check import RowFaults, RowsCheck, left_over
from benchmarks.kills.kinds import END_LIMIT_S, KILLED, KillMethod, Outcome, Starter
from benchmarks.kills.log import Loss, losses
from benchmarks.kills.node import KillNode
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import OK

#: Undisturbed rounds, which must finish any run.
CALM_ROUNDS = 3


@dataclass
class Report:
    """Result of a run."""

    kills: Counter[str] = field(default_factory=Counter)
    """Kills by kind."""
    found: RowFaults = field(default_factory=RowFaults)
    losses: list[Loss] = field(default_factory=list)
    """Answers that each attempt lost, one entry for each that lost some."""
    left_over: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether the result is right and every job ended as it should."""
        return self.found.is_good and not self.defects

    def note(self, kill_method: KillMethod, outcome: Outcome, job: str = "") -> None:
        """Record how a job ended: a worker, or the named `job`."""
        if outcome.killed:
            self.kills[job + kill_method.kind] += 1
        if outcome.code not in (OK, *KILLED):
            self.defects.append(f"{kill_method} ended with {outcome.code}")


class KillRun:
    """One run; `report` has its result."""

    def __init__(self, node: KillNode, name: str, chance: Random) -> None:
        self.node, self.chance = node, chance
        self.workers = chance.choice((1, 1, 2))
        self.artifact: Artifact = node.fresh(name, self.workers)
        self.report = Report()

    def run(
        self,
        kill_methods: Iterable[KillMethod],
        gate_kill_methods: Sequence[KillMethod],
        like: Path | None,
    ) -> Report:
        """Kill workers, finish without kills, kill gates, finish without kills, and check."""
        for kill_method in kill_methods:
            if self.is_whole:
                break
            if self.chance.random() < 0.5:
                self.workers = self.node.begin_round(self.artifact, self.chance.choice((1, 1, 2)))
            self.kill_workers(kill_method)
        self.finish()
        for kill_method in gate_kill_methods:
            self.report.note(kill_method, kill_method.apply(self.start_gate), "gate:")
        code = self.start_gate([]).wait(END_LIMIT_S)
        if code != OK:
            self.report.defects.append(f"the gate ended with {code}")
        check = RowsCheck(self.node.corpus, self.artifact.folder, self.node.model is None)
        self.report.found = check.run(like)
        self.report.losses = losses(self.node.log, self.node.shape.commit_interval_s)
        self.report.left_over = left_over(self.artifact.folder)
        return self.report

    @property
    def is_whole(self) -> bool:
        """Whether every unit has its marker."""
        return len(self.artifact.done_units()) == self.node.shape.units

    def kill_workers(self, kill_method: KillMethod) -> None:
        """Run all workers of the round, each with the same kind of kill."""
        with ThreadPoolExecutor(self.workers) as threads:
            started = [
                threads.submit(kill_method.apply, self.starter(worker))
                for worker in range(self.workers)
            ]
        for outcome in started:
            self.report.note(kill_method, outcome.result())

    def finish(self) -> None:
        """Run rounds without a kill until all units are done."""
        for _ in range(CALM_ROUNDS):
            if self.is_whole:
                return
            self.node.begin_round(self.artifact, 1)
            code = self.starter(0)([]).wait(END_LIMIT_S)
            if code != OK:
                self.report.defects.append(f"an undisturbed worker ended with {code}")
        if not self.is_whole:
            self.report.defects.append(f"{CALM_ROUNDS} undisturbed rounds did not finish")

    def starter(self, worker: int) -> Starter:
        """Return a function that starts a worker with a prefix to its command."""
        return partial(self.node.start_worker, self.artifact, worker)

    def start_gate(self, prefix: list[str]) -> "subprocess.Popen[bytes]":
        """Start the gate."""
        return self.node.start("gate", self.artifact.folder, prefix=prefix)

    def remove(self) -> None:
        """Remove the artifact."""
        shutil.rmtree(self.artifact.folder, ignore_errors=True)
