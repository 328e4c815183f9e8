"""Detects an engine that died or hangs, and aborts the job, so that another attempt can resume.

vLLM 0.32 waits forever for an engine process that was stopped, and may do so for one that was
killed.
"""

import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from hala_hpc.core.errors import EngineDied, EngineHung, TransientError
from hala_hpc.core.out_of_memory import is_engine_death

#: Seconds between two checks of the engine.
POLL_S = 0.5
STDERR = 2
#: Seconds that the main thread has to notice the engine's death itself and to leave the `with`
#: block. It knows more, e.g. that the GPU's memory was too small.
MAIN_THREAD_GRACE_S = 2.0


class EngineWatch:
    """Watches an engine that was started before the `with` block and is closed after it.

    Use it as `with EngineWatch(limit_s, abort, engine.processes) as watch:`. In the block, call
    `watch.beat(in_flight)` before every engine step, with the number of requests in flight, and
    `watch.beat(0)` after it. `processes` returns the processes that must be alive; it is called at
    once and after a restart. `abort(error)` is called from another thread, after all descendants of
    this process were killed; it must end this process.

    An `EngineDeadError` of vLLM that leaves the block becomes an `EngineDied`.
    """

    def __init__(
        self,
        limit_s: float,
        abort: Callable[[TransientError], object],
        processes: Callable[[], Sequence[BaseProcess]] = tuple,
    ) -> None:
        self.limit_s, self.abort, self.processes = limit_s, abort, processes
        self.in_flight = 0
        self.beats = 0
        self.idle_s = 0.0
        self.engines = self.processes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="engine-watch", daemon=True)

    def beat(self, in_flight: int) -> None:
        """Record a heartbeat: `in_flight` is 0 if a step has ended or the engine has no work."""
        self.in_flight = in_flight
        self.beats += 1

    def __enter__(self) -> Self:
        self.beat(0)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching; raise EngineDied if the block ended with the engine's death."""
        self._ended.set()
        if error is not None and is_engine_death(error):
            # The process may need a moment to exit after it reported its death.
            time.sleep(POLL_S)
            raise EngineDied(self.death() or f"the engine failed: {error}") from error

    @contextlib.contextmanager
    def restarting(self) -> Iterator[None]:
        """Suspend the watch while the engine is replaced by another one."""
        self.engines = []
        self.beat(0)
        yield
        self.engines = self.processes()

    def death(self) -> str:
        """How a process of the engine ended; empty while all are alive."""
        for engine in self.engines:
            if not engine.is_alive():
                return f"the engine's process {engine.name} {describe_exit(engine.exitcode)}"
        return ""

    def hang(self) -> str:
        """Message that the engine hangs; empty while steps end or none is due."""
        if not self.in_flight or self.idle_s <= self.limit_s:
            return ""
        return (
            f"engine.step_timeout_s={self.limit_s:g}: the engine hangs: no step ended in "
            f"{self.idle_s:.0f} s while {self.in_flight} requests were in flight"
        )

    def failure(self) -> TransientError | None:
        """The error of an engine that died or hangs; None if it does neither."""
        if death := self.death():
            return EngineDied(death)
        hang = self.hang()
        return EngineHung(hang) if hang else None

    def _watch(self) -> None:
        beats, polled = self.beats, time.monotonic()
        while not self._ended.wait(POLL_S):
            now = time.monotonic()
            # A late check was delayed itself: the job was suspended, not the engine.
            passed_s = min(now - polled, 2 * POLL_S)
            self.idle_s = self.idle_s + passed_s if beats == self.beats else 0.0
            beats, polled = self.beats, now
            if self.death() and self._ended.wait(MAIN_THREAD_GRACE_S):
                return
            # Checked again: the main thread may have begun to restart the engine.
            if failure := self.failure():
                # The stack of every thread, for the log: a hang leaves no other trace.
                faulthandler.dump_traceback(STDERR)
                kill_descendants()
                self.abort(failure)
                return


def describe_exit(exit_code: int | None) -> str:
    """Describe how a process ended."""
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with code {exit_code}"


def kill_descendants() -> None:
    """Kill all descendants of this process, also stopped ones."""
    import psutil  # type: ignore[import-untyped]

    for process in psutil.Process(os.getpid()).children(recursive=True):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
