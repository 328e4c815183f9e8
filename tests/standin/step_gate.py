"""Holds a training open: its ranks wait after a step until a file lets them make the next one.

HALA_STEP_GATE names the file. It holds the number of the step after which the ranks wait, before
they vote on it. While they wait they still agree on stops, and leave in time. A training that has
made its last step waits once more as long as the file is there: its last checkpoint is saved, its
model is not written yet. Where there is no file, nothing waits. Rank 0 writes into `<file>.held`
which attempt waits, and after which step (the last one plus one at the end).

So a test can do something to a training that is certainly still running, however fast it is.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hala_hpc.core.files import write_json
from hala_hpc.engines.training.callbacks import TrainingCallback
from hala_hpc.engines.training.collectives import any_rank

#: Seconds between two polls of the file.
PAUSE_S = 0.05


def hold_trainings(file: Path) -> None:
    """Let the trainings of this process wait at their steps for `file`."""
    end_step = TrainingCallback.on_step_end

    def on_step_end(
        self: TrainingCallback, args: Any, state: Any, control: Any, **more: Any
    ) -> None:
        began = time.monotonic()
        if state.global_step >= step_in(file):
            report_step(self, file, state.global_step)
        wait(self, args, lambda: state.global_step < step_in(file))
        # The wait is no part of the seconds of a step, by which the training decides when to stop.
        self.stepped += time.monotonic() - began
        end_step(self, args, state, control, **more)

    def on_train_end(
        self: TrainingCallback, args: Any, state: Any, _control: Any, **_: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            report_step(self, file, state.max_steps + 1)
            wait(self, args, lambda: not file.exists())

    TrainingCallback.on_step_end = on_step_end  # type: ignore[method-assign]
    TrainingCallback.on_train_end = on_train_end  # type: ignore[attr-defined]


def report_step(watch: TrainingCallback, file: Path, step: int) -> None:
    """Write which rank waits, and after which step."""
    if watch.out.rank == 0:
        held = {"attempt": watch.out.attempt, "step": step}
        write_json(file.with_name(f"{file.name}.held"), held)


def wait(watch: TrainingCallback, args: Any, is_open: Callable[[], bool]) -> None:
    """Wait until the file releases any rank, or any rank is to stop. Collective."""
    while True:
        leave = watch.out.stop_requested or watch.time_is_up()
        if any(any_rank(args.device, is_open(), leave)):
            return
        # Ranks that answer each other do not hang.
        watch.heartbeat.idle_s = 0.0
        time.sleep(PAUSE_S)


def step_in(file: Path) -> float:
    """The number in a file; infinite where there is none."""
    try:
        return int(file.read_text())
    except FileNotFoundError:
        return float("inf")
