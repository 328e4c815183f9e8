"""Stops a fine-tuning on two nodes of a real SLURM over and over, in every way there is.

`python -m benchmarks.stops --stops 60 --saves 40 [--seed 1]` runs tiny trainings with ZeRO-2 and
ZeRO-3 and stops each several times: SIGTERM with up to three seconds between the ranks,
preemption, the end of the time limit, SIGKILL of a rank and of a supervisor; and SIGKILL at
random instants of saving. Each training is then brought to its end and its weights are held
against those of an undisturbed one. Needs what `slurm/minislurm` needs. Prints JSON as its last
line; leaves with 1 when a job hung, went on from a checkpoint that was not whole, lost more than
one interval of saving, or ended with other weights.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.stop_blows import STOPS, Blow, kill_while_saving
from benchmarks.stop_node import LIMIT_S, ROOT, Shape, StopNode, StopRun
from hala_hpc.core.records import Progress

SAVING, WALLTIME = "kill_while_saving", "walltime"
#: Stops of one training at most.
STOPS_A_RUN = 8
#: Stops that come before the first step, at any instant of loading.
BEFORE_STEPS = 0.25
#: Seconds after the first new step within which the others come.
AFTER_STEPS_S = 6.0
#: Seconds that loading takes, about.
LOADING_S = 12.0


@dataclass(frozen=True)
class Asked:
    """How many stops there are to be, and of which trainings."""

    stops: int
    saves: int
    """Kills while a checkpoint is saved."""
    stages: tuple[int, ...] = (2, 3)
    shape: Shape = field(default_factory=Shape)


@dataclass
class Tally:
    """What became of all stops."""

    kinds: Counter[str] = field(default_factory=Counter)
    deadlocks: int = 0
    torn_resumes: int = 0
    lost_steps: list[int] = field(default_factory=list)
    runs: int = 0
    other_weights: int = 0
    seconds: list[float] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)

    @property
    def stops(self) -> int:
        """Stops so far."""
        return self.kinds.total()


class StoppedRun:
    """One training with its stops."""

    def __init__(self, run: StopRun, chance: Random, tally: Tally) -> None:
        self.run, self.chance, self.tally = run, chance, tally

    def stop(self, kind: str, blow: Blow) -> bool:
        """Stop the training once; False when it came to its end before that."""
        began = time.monotonic()
        if not self.run.job or not self.run.is_queued():
            self.run.submit(timeout_min=1 if kind == WALLTIME else 20)
        if not self.reach(kind):
            return False
        ended = blow(self.run, self.chance)
        if self.run.is_done():
            return False
        self.tally.kinds[kind] += 1
        attempts = len(self.run.began())
        reached, whole = max(self.run.most, self.run.reached()), self.run.whole()
        if not ended:
            self.tally.deadlocks += 1
            self.tally.defects.append(f"{kind}: no end in {LIMIT_S} s: {self.run.artifact.folder}")
            self.run.end()
        # An attempt says from where it goes on long after it has begun.
        self.go_on(kind, attempts, reached, whole)
        self.tally.seconds.append(time.monotonic() - began)
        return True

    def reach(self, kind: str) -> bool:
        """Wait for the instant of the stop; False when the training ended before."""
        run = self.run
        if not run.wait(lambda: run.is_done() or run.is_running()) or run.is_done():
            return False
        run.most = 0
        if kind == WALLTIME:
            return True
        if kind != SAVING and self.chance.random() < BEFORE_STEPS:
            time.sleep(self.chance.uniform(0, LOADING_S))
            return not run.is_done()
        run.wait(lambda: run.is_done() or self.is_stepping())
        if kind != SAVING:
            time.sleep(self.chance.uniform(0, AFTER_STEPS_S))
        return not run.is_done()

    def is_stepping(self) -> bool:
        """Whether the newest attempt has made a step."""
        steps = [word.step or 0 for word in self.progress()]
        began = self.run.began()
        return bool(began) and min(steps, default=0) > began[-1]

    def progress(self) -> list[Progress]:
        """The newest word of the ranks of the running attempt."""
        attempt = self.run.attempt()
        files = (self.run.artifact.folder / "progress").glob("*.json")
        found = [Progress.read_if_sound(file) for file in files]
        return [word for word in found if word and word.attempt == attempt]

    def go_on(self, kind: str, attempts: int, reached: int, whole: set[int]) -> None:
        """See from where the next attempt goes on, and what that lost."""
        run = self.run
        if not run.is_queued():
            run.submit()
        if not run.wait(lambda: run.is_done() or len(run.began()) > attempts):
            self.tally.deadlocks += 1
            self.tally.defects.append(f"{kind}: nothing went on: {run.artifact.folder}")
            run.end()
            return
        start = run.began()[-1]
        # A checkpoint that was whole may be gone by now, but none may come out of nothing.
        if start not in whole | run.whole():
            self.tally.torn_resumes += 1
            self.tally.defects.append(f"{kind}: went on from {start}, whole are {sorted(whole)}")
        self.tally.lost_steps.append(max(0, reached - start))

    def finish(self, weights: bytes) -> None:
        """Bring the training to its end in peace and look at what it learnt."""
        run = self.run
        for _ in range(3):
            if run.is_done():
                break
            if not run.is_queued():
                run.submit()
            run.wait(lambda: run.is_done() or not run.is_queued(), 4 * LIMIT_S)
        self.tally.runs += 1
        if run.weights() != weights:
            self.tally.other_weights += 1
            self.tally.defects.append(f"other weights or none: {run.artifact.folder}")
        run.end()


def stop_all(base: Path, tally: Tally, asked: Asked, chance: Random) -> None:
    """Trainings in turn with each ZeRO stage until there were as many stops of both sorts."""
    nodes = {stage: StopNode(base, stage, asked.shape) for stage in asked.stages}
    weights = {stage: node.calm() for stage, node in nodes.items()}
    assert all(weights.values()), f"an undisturbed training failed: {base}"
    print("undisturbed trainings are done", flush=True)
    turn, stages = cycle(set_apart(WALLTIME)), cycle(asked.stages)
    while left(tally, asked):
        stage = next(stages)
        one = StoppedRun(nodes[stage].fresh(f"run{tally.runs}"), chance, tally)
        for _ in range(STOPS_A_RUN):
            sorts = left(tally, asked)
            if not sorts:
                break
            kind = chance.choice(sorts)
            # The time limit is that of a job that is still to be submitted.
            if kind != SAVING:
                due = not one.run.job and tally.kinds[WALLTIME] * len(STOPS) <= tally.stops
                kind = WALLTIME if due else next(turn)
            blow = {SAVING: kill_while_saving, **STOPS}[kind]
            if not one.stop(kind, blow):
                break
            print(f"{tally.stops}: {kind}, ZeRO-{stage}, lost {tally.lost_steps[-1:]}", flush=True)
        one.finish(weights[stage])
        print(f"run {tally.runs} {tally.defects[-2:]}", flush=True)


def set_apart(kind: str) -> list[str]:
    """The other kinds of stops, in their order."""
    return [other for other in STOPS if other != kind]


def left(tally: Tally, asked: Asked) -> list[str]:
    """A word for each stop that is still to come: `kill_while_saving` or `stop`."""
    saves = tally.kinds[SAVING]
    stops = tally.stops - saves
    return [SAVING] * (asked.saves - saves) + ["stop"] * (asked.stops - stops)


def summary(tally: Tally, began: float) -> dict[str, Any]:
    """What came of it; `good` when nothing went wrong."""
    bound = Shape().save_steps
    lost = max(tally.lost_steps, default=0)
    return {
        "stops": tally.stops,
        "kinds": dict(tally.kinds),
        "runs": tally.runs,
        "deadlocks": tally.deadlocks,
        "torn_resumes": tally.torn_resumes,
        "lost_steps_max": lost,
        "save_interval_steps": bound,
        "other_weights": tally.other_weights,
        "seconds_a_stop": round(sum(tally.seconds) / max(len(tally.seconds), 1), 1),
        "seconds": round(time.monotonic() - began),
        "defects": tally.defects[:20],
        "good": not tally.defects and lost <= bound,
    }


def main() -> int:
    """Stop, report, and say with the exit code whether all went well."""
    words = argparse.ArgumentParser()
    words.add_argument("--stops", type=int, default=60)
    words.add_argument("--saves", type=int, default=40)
    words.add_argument("--seed", type=int, default=1)
    given = words.parse_args()
    began, tally = time.monotonic(), Tally()
    base = Path(tempfile.mkdtemp(prefix="hala-stops-"))
    slurm = Path(tempfile.mkdtemp(prefix="minislurm-"))
    minislurm = [sys.executable, str(ROOT / "slurm" / "minislurm")]
    try:
        subprocess.run([*minislurm, "up", "--folder", str(slurm)], check=True)
        os.environ["SLURM_CONF"] = str(slurm / "slurm.conf")
        stop_all(base, tally, Asked(given.stops, given.saves), Random(given.seed))
    finally:
        subprocess.run([*minislurm, "down", "--folder", str(slurm)], check=False)
        shutil.rmtree(slurm, ignore_errors=True)
    told = summary(tally, began)
    if told["good"]:
        shutil.rmtree(base)
    else:
        print(f"what is left is in {base}")
    print(json.dumps(told, ensure_ascii=False))
    return 0 if told["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
