"""Two trainings that take turns on this machine: one is stopped while the other runs.

Both exist at once and a turn is a fraction of a step, so other load on the machine affects both
alike. On a busy machine, whole trainings one after the other differed by a third, and turns of two
steps by more, either way.
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
#: Seconds between two polls of the file of steps while a training runs alone.
POLL_INTERVAL_S = 0.05
#: Timeout in seconds until the first steps, between steps, and until the end: a large model on few
#: cores takes minutes for each.
LIMIT_S = 3600


@dataclass(frozen=True)
class Took:
    """Time of some steps of a training."""

    seconds: float
    """Seconds while it was not stopped."""
    cpu_s: float
    """CPU seconds, user and system, of all its processes."""


class Running:
    """A started training with all its processes; `with` ends its remaining processes.

    `steps_file` names the JSON lines with the `time` of every step, once they exist.
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
        """Its processes and their children, found when it was stopped."""
        self.samples = [(self.began, 0.0, 0.0)]
        """Samples at each stop and start: the time, seconds of running, CPU seconds."""

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.find_family()
        self.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(LIMIT_S)

    def find_family(self) -> None:
        """Find its processes."""
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
        """Record a sample; it ran for `ran_s` since the last one."""
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
        """Continue for one turn."""
        self.record_sample(0.0)
        self.send_signal(signal.SIGCONT)
        time.sleep(TURN_S)
        self.stop()

    def ends_s(self) -> list[float]:
        """Return the end times of steps; as last read, after the file was moved."""
        file = self.steps_file()
        if file is not None and file.exists():
            lines = file.read_text().split("\n")[:-1]
            self.step_ends_s = [json.loads(line)["time"] for line in lines]
        return self.step_ends_s

    def has_done(self, step: int) -> bool:
        """Whether a step, counted from 1, has ended. Exits with the log if it never will."""
        if len(self.ends_s()) >= step:
            return True
        if any(process.poll() is not None for process in self.processes):
            sys.exit(f"it ended before step {step}\n{self.log.read_text()[-3000:]}")
        return False

    def run_to_the_end(self) -> None:
        """Continue until it is finished; exit with the end of its log if it failed."""
        self.send_signal(signal.SIGCONT)
        codes = [process.wait(LIMIT_S) for process in self.processes]
        if any(codes):
            sys.exit(self.log.read_text()[-3000:])

    def took(self, steps: range) -> Took:
        """Return the time of the steps after `steps.start` up to `steps.stop`."""
        import numpy as np

        when, ran_s, cpu_s = zip(*self.samples, strict=True)
        ends = [self.ends_s()[number - 1] for number in (steps.start, steps.stop)]
        first, last = np.interp(ends, when, ran_s).tolist()
        cpu_first, cpu_last = np.interp(ends, when, cpu_s).tolist()
        return Took(last - first, cpu_last - cpu_first)


def race(starts: Mapping[str, Callable[[], Running]], steps: range) -> dict[str, Running]:
    """Start trainings in this order, each alone, and let them take turns for these steps.

    The turns begin when all have done step `steps.start`. A training that has done `steps.stop`
    waits, and finally each runs to its end.
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
