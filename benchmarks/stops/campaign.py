"""A campaign of stops: consecutive trainings, each stopped several times and then checked."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import Any

from benchmarks.stops.kinds import STOPS, StopMethod, kill_while_saving
from benchmarks.stops.node import LIMIT_S, Shape, StopNode, StopRun

SAVING, WALLTIME = "kill_while_saving", "walltime"
#: Maximum stops of one training.
STOPS_A_RUN = 8
#: Consecutive trainings without a stop after which the campaign ends.
MAX_RUNS_WITHOUT_STOP = 3
#: Share of the stops before the first step, at any time of loading.
BEFORE_STEPS = 0.25
#: A stop comes within this number of checkpoint intervals after the step that was reached.
INTERVALS = 2
#: Seconds within which a stop comes once the training waits for it.
HELD_S = 0.5


@dataclass(frozen=True)
class StopPlan:
    """Number of stops to make, and of which trainings."""

    stops: int
    saves: int
    """Kills while a checkpoint is saved."""
    stages: tuple[int, ...] = (2, 3)
    shape: Shape = field(default_factory=Shape)


@dataclass
class Tally:
    """Results of all stops."""

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
        """Return the number of stops so far."""
        return self.kinds.total()


class StoppedRun:
    """One training with its stops."""

    def __init__(self, run: StopRun, chance: Random, tally: Tally) -> None:
        self.run, self.chance, self.tally = run, chance, tally

    def stop(self, kind: str, stop_method: StopMethod) -> bool:
        """Stop the training once; return False if it ended before that."""
        began, run = time.monotonic(), self.run
        goal = self.choose_step()
        run.hold_after(goal)
        if not run.job or not run.is_queued():
            run.submit(timeout_min=1 if kind == WALLTIME else 20)
        if not self.wait_for_instant(kind, goal):
            return False
        ended = stop_method(run, self.chance)
        if run.is_done():
            return False
        self.tally.kinds[kind] += 1
        attempts = len(run.start_steps())
        last_step, whole = max(run.max_step, run.last_step()), run.whole()
        if not ended:
            self.tally.deadlocks += 1
            self.tally.defects.append(f"{kind}: no end in {LIMIT_S} s: {run.artifact.folder}")
            run.end()
        # An attempt logs where it resumes long after it has begun.
        self.check_resume(kind, attempts, last_step, whole)
        self.tally.seconds.append(time.monotonic() - began)
        return True

    def choose_step(self) -> int:
        """Return the step after which the training waits for the next stop."""
        shape, last_step = self.run.node.shape, self.run.last_step()
        # Some steps are left for later stops.
        steps = min(INTERVALS * shape.save_steps, (shape.steps - last_step) // 2)
        return min(last_step + self.chance.randint(1, max(1, steps)), shape.steps)

    def wait_for_instant(self, kind: str, goal: int) -> bool:
        """Wait for the time of the stop; return False if it never came."""
        run = self.run
        run.max_step = 0
        if kind == WALLTIME:
            return run.wait(lambda: run.attempt() or not run.is_queued())
        if not self.wait_while_queued(run.is_running):
            return False
        if kind != SAVING and self.chance.random() < BEFORE_STEPS:
            time.sleep(self.chance.uniform(0, run.node.loading_s))
            return True
        if not self.wait_while_queued(run.is_held):
            return False
        if kind != SAVING:
            time.sleep(self.chance.uniform(0, HELD_S))
            # If the stop comes at once, the training is making steps.
            run.hold_after(min(goal + run.node.shape.save_steps, run.node.shape.steps))
        return True

    def wait_while_queued(self, true: Callable[[], bool]) -> bool:
        """Wait for an action of the job; return whether it came before the job's end."""
        self.run.wait(lambda: true() or not self.run.is_queued())
        return true()

    def check_resume(self, kind: str, attempts: int, last_step: int, whole: set[int]) -> None:
        """Record where the next attempt resumes, and the lost steps."""
        run = self.run
        if not run.is_queued():
            run.submit()
        if not run.wait(lambda: run.is_done() or len(run.start_steps()) > attempts):
            self.tally.deadlocks += 1
            self.tally.defects.append(f"{kind}: nothing resumed: {run.artifact.folder}")
            run.end()
            return
        start = run.start_steps()[-1]
        # A complete checkpoint may be gone by now, but none may appear from nowhere.
        if start not in whole | run.whole():
            self.tally.torn_resumes += 1
            self.tally.defects.append(f"{kind}: resumed from {start}, complete are {sorted(whole)}")
        self.tally.lost_steps.append(max(0, last_step - start))

    def finish(self, weights: bytes) -> None:
        """Run the training to its end undisturbed and check its weights."""
        run = self.run
        run.release()
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


def calm_weights(nodes: Mapping[int, StopNode]) -> dict[int, bytes]:
    """Return the weights of undisturbed trainings, by ZeRO stage."""
    weights = {stage: node.calm() for stage, node in nodes.items()}
    assert all(weights.values()), "an undisturbed training failed"
    print("undisturbed trainings are done", flush=True)
    return weights


def stop_all(
    nodes: Mapping[int, StopNode], weights: Mapping[int, bytes], planned: StopPlan, chance: Random
) -> Tally:
    """Run trainings alternately with each ZeRO stage until there were enough stops and saves.

    After three consecutive trainings without a stop it ends with those so far, and a defect.
    """
    tally, stages, runs_without_stop = Tally(), cycle(nodes), 0
    while remaining_stops(tally, planned) and runs_without_stop < MAX_RUNS_WITHOUT_STOP:
        stage, before = next(stages), tally.stops
        one = StoppedRun(nodes[stage].fresh(f"run{tally.runs}"), chance, tally)
        stop_one(one, planned)
        one.finish(weights[stage])
        runs_without_stop = 0 if tally.stops > before else runs_without_stop + 1
        print(f"run {tally.runs} {tally.defects[-2:]}", flush=True)
    if missing := remaining_stops(tally, planned):
        tally.defects.append(
            f"{runs_without_stop} consecutive trainings ended before any stop: {len(missing)} of "
            f"{planned.stops + planned.saves} stops were not made"
        )
    return tally


def stop_one(one: StoppedRun, planned: StopPlan) -> None:
    """Stop one training until it has had its stops, or has ended."""
    tally = one.tally
    for _ in range(STOPS_A_RUN):
        sorts = remaining_stops(tally, planned)
        if not sorts:
            return
        kind = one.chance.choice(sorts)
        if kind != SAVING:
            kind = next_kind(tally, is_new=not one.run.job)
        if not one.stop(kind, {SAVING: kill_while_saving, **STOPS}[kind]):
            return
        print(f"{tally.stops}: {kind}, lost {tally.lost_steps[-1:]}", flush=True)


def next_kind(tally: Tally, is_new: bool) -> str:
    """Return the kind of stop of which there were fewest.

    The time limit is set when the job is submitted, so it comes first or not at all.
    """
    kinds = STOPS if is_new else [kind for kind in STOPS if kind != WALLTIME]
    return min(reversed(kinds), key=lambda kind: tally.kinds[kind])


def missing_kinds(tally: Tally, planned: StopPlan) -> list[str]:
    """Return the kinds without a stop, if enough stops were requested for each to have one."""
    kinds = [*(STOPS if planned.stops >= len(STOPS) else ()), *([SAVING] if planned.saves else ())]
    return [kind for kind in kinds if not tally.kinds[kind]]


def remaining_stops(tally: Tally, planned: StopPlan) -> list[str]:
    """Return an entry for each missing stop: `kill_while_saving` or `stop`."""
    saves = tally.kinds[SAVING]
    stops = tally.stops - saves
    return [SAVING] * (planned.saves - saves) + ["stop"] * (planned.stops - stops)


def summary(tally: Tally, planned: StopPlan, began: float) -> dict[str, Any]:
    """Return the result; `good` if there was no fault."""
    bound, missing = planned.shape.save_steps, missing_kinds(tally, planned)
    lost = max(tally.lost_steps, default=0)
    return {
        "stops": tally.stops,
        "kinds": dict(tally.kinds),
        "missing_kinds": missing,
        "runs": tally.runs,
        "deadlocks": tally.deadlocks,
        "torn_resumes": tally.torn_resumes,
        "lost_steps_max": lost,
        "save_interval_steps": bound,
        "other_weights": tally.other_weights,
        "seconds_a_stop": round(sum(tally.seconds) / max(len(tally.seconds), 1), 1),
        "seconds": round(time.monotonic() - began),
        "defects": tally.defects[:20],
        "good": not tally.defects and not missing and lost <= bound,
    }
