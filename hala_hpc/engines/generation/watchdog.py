"""Notices that an engine has died or hangs, and leaves, so that another attempt can go on.

vLLM 0.32 waits for ever for an engine process that was stopped, and may do so for one that was
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

#: How often the engine is looked at, in seconds.
POLL_S = 0.5
STDERR = 2
#: How long the main thread may take to notice the engine's death by itself and to leave the
#: `with` block, in seconds. It knows more, e.g. that the GPU's memory was too small.
MAIN_THREAD_GRACE_S = 2.0


class EngineWatch:
    """Watches over an engine that was started before the block and is ended after it.

    `with EngineWatch(limit_s, leave, engine.processes) as watch:`, and in it
    `watch.beat(in_flight)` before every engine step, with the number of requests in flight, and
    `watch.beat(0)` after it. `processes` tells which processes must live; it is called at once and
    after a restart. `leave(error)` is called from another thread, after all processes below this
    one were killed; it must end this process.

    vLLM's `EngineDeadError` that comes out of the block becomes an `EngineDied`.
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
        """An engine step has ended, or there is nothing for the engine to do: `in_flight` is 0."""
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
        """End the watch; raise EngineDied where the block ended with the engine's death."""
        self._ended.set()
        if error is not None and is_engine_death(error):
            # The process may need a moment to die after it said that it does.
            time.sleep(POLL_S)
            raise EngineDied(self.death() or f"the engine failed: {error}") from error

    @contextlib.contextmanager
    def restarting(self) -> Iterator[None]:
        """Look away while the engine is ended and another is started in its place."""
        self.engines = []
        self.beat(0)
        yield
        self.engines = self.processes()

    def death(self) -> str:
        """How a process of the engine ended, or nothing while all are alive."""
        for engine in self.engines:
            if not engine.is_alive():
                return f"the engine's process {engine.name} {describe_exit(engine.exitcode)}"
        return ""

    def hang(self) -> str:
        """What no longer happens, or nothing while steps end or none is due."""
        if not self.in_flight or self.idle_s <= self.limit_s:
            return ""
        return (
            f"the engine hangs: no step ended in {self.idle_s:.0f} s (engine.step_timeout_s="
            f"{self.limit_s:g}) while {self.in_flight} requests were in flight"
        )

    def failure(self) -> TransientError | None:
        """What is wrong with the engine; None while nothing is."""
        if death := self.death():
            return EngineDied(death)
        hang = self.hang()
        return EngineHung(hang) if hang else None

    def _watch(self) -> None:
        beats, polled = self.beats, time.monotonic()
        while not self._ended.wait(POLL_S):
            now = time.monotonic()
            # A look that comes late was held up itself: the job is suspended, not the engine.
            passed_s = min(now - polled, 2 * POLL_S)
            self.idle_s = self.idle_s + passed_s if beats == self.beats else 0.0
            beats, polled = self.beats, now
            if self.death() and self._ended.wait(MAIN_THREAD_GRACE_S):
                return
            # Looked at again: the main thread may have begun to restart the engine.
            if failure := self.failure():
                # Where every thread is, for the log: a hang has no other witness.
                faulthandler.dump_traceback(STDERR)
                kill_descendants()
                self.abort(failure)
                return


def describe_exit(exit_code: int | None) -> str:
    """How a process ended, in words."""
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with code {exit_code}"


def kill_descendants() -> None:
    """Kill every process that this one started, also stopped ones and children of children."""
    import psutil  # type: ignore[import-untyped]

    for process in psutil.Process(os.getpid()).children(recursive=True):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
