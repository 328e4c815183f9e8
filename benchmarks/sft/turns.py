"""Two trainings that take turns on this machine: one is stopped while the other runs.

Both are alive at once and a turn is a fraction of a step, so that whatever else the machine does,
both meet it alike. Where other programs wanted the cores too, whole trainings one after the other
differed by a third, and turns of two steps by more, either way.
"""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common.waiting import wait_until

#: Seconds of a turn.
TURN_S = 0.3
#: Seconds between two looks at the file of steps while a training runs alone.
POLL_INTERVAL_S = 0.05
#: Seconds after which a training is taken not to come to its first steps, to another, or to its
#: end at all: a large model on few cores takes minutes for each.
LIMIT_S = 3600


@dataclass(frozen=True)
class Took:
    """What some steps of a training took."""

    seconds: float
    """While it was not stopped."""
    cpu_s: float
    """Seconds of cores, user and system, of all its processes."""


class Running:
    """A training that has been started, with all its processes; `with` ends what is left of it.

    `steps_file` names the JSON lines that get the `time` of every step, once they are there.
    """

    def __init__(
        self,
        processes: Sequence["subprocess.Popen[Any]"],
        steps_file: Callable[[], Path | None],
        log: Path,
    ) -> None:
        self.processes, self.steps_file, self.log = processes, steps_file, log
        self.began = time.time()
        self.step_ends_s: list[float] = []
        self.family: list[Any] = []
        """Its processes and all that they started, once it was stopped."""
        self.samples = [(self.began, 0.0, 0.0)]
        """Whenever it was stopped or went on: the time, seconds that it ran, those of cores."""

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.find_family()
        self.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(LIMIT_S)

    def find_family(self) -> None:
        """Look for its processes."""
        import psutil  # type: ignore[import-untyped]

        self.family = []
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                one = psutil.Process(process.pid)
                self.family += [one, *one.children(recursive=True)]

    def send_signal(self, number: int) -> None:
        """Send a signal to all of them."""
        import psutil

        for process in self.family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def record_sample(self, ran_s: float) -> None:
        """Note what it has had by now; it ran so long since the last mark."""
        import psutil

        cpu_s = 0.0
        for process in self.family:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                cpu_s += times.user + times.system
        self.samples.append((time.time(), self.samples[-1][1] + ran_s, cpu_s))

    def stop(self) -> None:
        """Stop all its processes."""
        if not self.family:
            self.find_family()
        self.send_signal(signal.SIGSTOP)
        self.record_sample(time.time() - self.samples[-1][0])

    def take_turn(self) -> None:
        """Go on for a turn."""
        self.record_sample(0.0)
        self.send_signal(signal.SIGCONT)
        time.sleep(TURN_S)
        self.stop()

    def ends_s(self) -> list[float]:
        """When each step ended; as last seen, once the file went elsewhere."""
        file = self.steps_file()
        if file is not None and file.exists():
            lines = file.read_text().split("\n")[:-1]
            self.step_ends_s = [json.loads(line)["time"] for line in lines]
        return self.step_ends_s

    def has_done(self, step: int) -> bool:
        """Whether a step, counted from 1, has ended. Leaves with its log where none will."""
        if len(self.ends_s()) >= step:
            return True
        if any(process.poll() is not None for process in self.processes):
            sys.exit(f"it ended before step {step}\n{self.log.read_text()[-3000:]}")
        return False

    def run_to_the_end(self) -> None:
        """Go on until it is finished; leave with the end of its log if it failed."""
        self.send_signal(signal.SIGCONT)
        codes = [process.wait(LIMIT_S) for process in self.processes]
        if any(codes):
            sys.exit(self.log.read_text()[-3000:])

    def took(self, steps: range) -> Took:
        """What the steps after `steps.start` up to `steps.stop` took."""
        import numpy as np

        when, ran_s, cpu_s = zip(*self.samples, strict=True)
        ends = [self.ends_s()[number - 1] for number in (steps.start, steps.stop)]
        first, last = np.interp(ends, when, ran_s).tolist()
        cpu_first, cpu_last = np.interp(ends, when, cpu_s).tolist()
        return Took(last - first, cpu_last - cpu_first)


def race(starts: Mapping[str, Callable[[], Running]], steps: range) -> dict[str, Running]:
    """Start trainings in this order, each alone, and let them take turns for these steps.

    The turns begin when all have done step `steps.start`. Who has done `steps.stop` waits, and at
    last each goes on to its end.
    """
    with contextlib.ExitStack() as stack:
        running: dict[str, Running] = {}
        for name, start in starts.items():
            one = running[name] = stack.enter_context(start())
            what = f"step {steps.start} of {name}"
            wait_until(partial(one.has_done, steps.start), what, LIMIT_S, POLL_INTERVAL_S)
            one.stop()
        done, deadline = 0, time.monotonic() + LIMIT_S
        while waiting := [one for one in running.values() if not one.has_done(steps.stop)]:
            for one in waiting:
                one.take_turn()
            if (now := sum(len(one.ends_s()) for one in running.values())) > done:
                done, deadline = now, time.monotonic() + LIMIT_S
            elif time.monotonic() > deadline:
                raise TimeoutError(f"no training has done a step in {LIMIT_S} s; {done} are done")
        for one in running.values():
            one.run_to_the_end()
    return running
