"""A campaign of kills: consecutive runs of a node, each killed several times and checked."""

import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.common.rounds import repeat_until
from benchmarks.common.rows_check import RowsCheck
from benchmarks.kills.kinds import (
    CALLS,
    END_LIMIT_S,
    TARGETS,
    AtCall,
    AtInstant,
    KillMethod,
    calls_made,
)
from benchmarks.kills.log import count_levels
from benchmarks.kills.node import ROOT, KillNode, Shape, with_bytecode
from benchmarks.kills.run import KillRun, Report

#: Maximum kills at random times in one run.
INSTANTS = 12
#: Runs of a worker that are killed at the same call of each attempt.
CALLS_A_RUN = 3
#: Share of attempts that are killed at any time; the others once they have answers.
ANY_INSTANT = 0.15
#: System calls of a gate among which one is chosen.
GATE_CALLS = 12
#: Step through the calls of a run: its multiples modulo 1 are evenly spread (golden ratio).
GOLDEN = 0.618034
#: Runs of the wrong writer, and kills of each.
WRONG_RUNS = 8
WRONG_KILLS = 3
#: Less work for a real engine, which takes longer to start.
REAL_SHAPE = Shape(rows=160, units=8, max_num_seqs=4, commit_interval_s=0.5)
#: Fewer rows, of which each has several answers.
MIXED_SHAPE = Shape(rows=200, is_mixed=True)
KINDS = ("lost", "duplicated", "torn", "changed", "moved", "made_up", "wrong_counts")


class Kills:
    """The whole benchmark; `reports` has the result of each run."""

    def __init__(self, node: KillNode, seed: int) -> None:
        self.node, self.chance = node, Random(seed)
        self.reports: list[Report] = []
        self.calls: dict[str, int] = {}
        self.window_s = 0.0
        self.levels: Counter[str] = Counter()
        """Answers of the undisturbed run by what was asked, of `Shape.is_mixed`."""
        self.calm = node.base
        """Folder of an undisturbed run, made by `prepare`."""

    def prepare(self) -> None:
        """Make an undisturbed run for comparison and for its time, and one to count calls."""
        calm = self.node.fresh("calm")
        self.calm = calm.folder
        assert self.node.start("worker", calm.folder, 0).wait(END_LIMIT_S) == 0, calm.folder
        assert self.node.start("gate", calm.folder).wait(END_LIMIT_S) == 0, calm.folder
        times = [float(line.split(" ", 2)[1]) for line in self.node.log.read_text().splitlines()]
        self.window_s = max(times) - min(times)
        if self.node.shape.is_mixed:
            self.levels = count_levels(self.node.log)
        counted = self.node.fresh("counted")
        start = partial(self.node.start_worker, counted, 0)
        self.calls = calls_made(start, self.node.base / "calls.txt")

    def run(self, kills: int) -> None:
        """Make runs until there were that many kills."""
        turns = itertools.count()

        def one_round() -> None:
            # A run with kills at random times has as many as two or three with kills at calls.
            for kill_methods in (self.instants(), *(self.at_calls(next(turns)) for _ in range(3))):
                if self.count() < kills:
                    self.run_once(kill_methods)

        repeat_until(kills, self.count, one_round, "kills")

    def run_once(self, kill_methods: Iterator[KillMethod]) -> None:
        """Make one run with these kills, and its report."""
        one = KillRun(self.node, f"run{len(self.reports)}", self.chance)
        report = one.run(kill_methods, list(self.gate_kill_methods()), self.calm)
        self.reports.append(report)
        print(
            f"run {len(self.reports)}: {self.count()} kills {describe_report(report)}", flush=True
        )
        if report.is_good:
            one.remove()

    def count(self) -> int:
        """Return the number of kills so far."""
        return sum(sum(report.kills.values()) for report in self.reports)

    def instants(self) -> Iterator[KillMethod]:
        """Yield the kills at random times of one run."""
        for _ in range(INSTANTS):
            target = self.chance.choice(TARGETS)
            if self.chance.random() < ANY_INSTANT:
                yield AtInstant(target, self.chance.uniform(0, 0.5))
            else:
                yield AtInstant(target, self.chance.uniform(0, self.window_s / 2), self.node.log)

    def at_calls(self, turn: int) -> Iterator[KillMethod]:
        """Yield the kills at the n-th call of a kind, the same n in each attempt of a run."""
        call = list(CALLS)[turn % len(CALLS)]
        number = 1 + int(turn // len(CALLS) * GOLDEN % 1 * self.calls[call])
        for _ in range(CALLS_A_RUN):
            yield AtCall(call, number)

    def gate_kill_methods(self) -> Iterator[KillMethod]:
        """Yield a kill of the gate for half of the runs."""
        if self.chance.random() < 0.5:
            yield AtCall(self.chance.choice(list(CALLS)), self.chance.randint(1, GATE_CALLS))


def describe_report(report: Report) -> str:
    """Return the faults of a run for the progress output."""
    return "" if report.is_good else str([*report.defects, *report.found.faults][:3])


def summary(kills: Kills, bound: int | None) -> dict[str, Any]:
    """Return the results of all runs; `bound` is the allowed loss of a kill (None: by its log)."""
    reports = kills.reports
    total: Counter[str] = Counter()
    for report in reports:
        total.update(report.kills)
    count = sum(total.values())
    losses = [loss for report in reports for loss in report.losses]
    bounds = [bound or loss.between_commits for loss in losses]
    return {
        "kills": count,
        "runs": len(reports),
        "rows_per_run": kills.node.shape.rows,
        "by_kind": dict(sorted(total.items())),
        "asked": dict(kills.levels),
        **{kind: sum(getattr(report.found, kind) for report in reports) for kind in KINDS},
        "redone_max": max((loss.answers for loss in losses), default=0),
        "redone_mean": round(sum(loss.answers for loss in losses) / max(count, 1), 1),
        "redone_bound": max(bounds, default=0),
        "redone_beyond_bound": sum(
            loss.answers > max_answers for loss, max_answers in zip(losses, bounds, strict=True)
        ),
        "left_over": sorted({name for report in reports for name in report.left_over})[:10],
        "defects": [t for report in reports for t in report.defects + report.found.faults][:20],
    }


def wrong_writer(node: KillNode, seed: int, runs: int = WRONG_RUNS) -> dict[str, int]:
    """Return the number of killed runs of a wrong writer that the check rejects."""
    chance, kills, bad = Random(seed), 0, 0
    for run in range(runs):
        folder = node.base / "wrong" / str(run)
        start = partial(start_wrong, node.corpus, folder)
        for _ in range(WRONG_KILLS):
            kill_method = AtInstant("both", chance.uniform(0, 0.4), folder / "rows.jsonl")
            kills += kill_method.apply(start).killed
        start([]).wait(END_LIMIT_S)
        bad += not RowsCheck(node.corpus, folder, by_letters=True).run().is_good
    return {"kills": kills, "runs": runs, "runs_found": bad}


def start_wrong(corpus: Path, folder: Path, _prefix: list[str]) -> "subprocess.Popen[bytes]":
    """Start the wrong writer."""
    arguments = ["benchmarks.kills.wrong_writer", str(corpus), str(folder), "0.001"]
    return subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, env=with_bytecode())


def make_node(base: Path, engine: str, is_mixed: bool) -> KillNode:
    """The node, with the stand-in or with a tiny model trained to translate eight sentences."""
    if engine == "standin":
        return KillNode(base, MIXED_SHAPE if is_mixed else Shape())
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from tiny_models import SENTENCES, trained_model  # type: ignore[import-not-found]

    texts = [
        " ".join(some) for many in (1, 2, 3) for some in itertools.product(SENTENCES, repeat=many)
    ]
    return KillNode(base, REAL_SHAPE, trained_model(base), texts[: REAL_SHAPE.rows])
