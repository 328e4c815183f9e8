"""Detect a training in which no step ends, name the slow ranks, and abort.

A collective waits half an hour for a hung rank and then names none. Here each rank writes its
progress to a small file; a rank that waits too long reads the files of the others.
"""

import contextlib
import faulthandler
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hala_hpc.core.errors import RankHung
from hala_hpc.core.job_records import RankState
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.training.checkpoints import RANKS

CHECK_INTERVAL_S = 2.0
#: A rank is silent if its file is older than one's own by this many seconds.
SILENT_S = 20.0
STDERR = 2
#: Phases without steps: they may take long, and collectives have timeouts of their own.
LONG_PHASES = ("loading", "saving", "evaluating", "ended")


@dataclass(frozen=True)
class SlowRanks:
    """The ranks for which the others wait."""

    text: str
    nodes: tuple[str, ...] = ()
    """Their nodes, as far as known."""


class StepWatchdog:
    """Aborts the attempt if no step ends within `limit_s`; a context manager.

    Inside `with StepWatchdog(state_dir, out, limit_s) as heartbeat:` call
    `heartbeat.set_phase(phase)` and set `heartbeat.step`. `passes` counts forward passes, which
    distinguishes a rank that hangs before a pass from those that wait for it inside. `nonfinite`
    sums up what must stay finite, and `unlabeled` says whether the step has no label on any rank;
    see `collectives.any_rank`.
    """

    def __init__(self, state_dir: Path, out: UnitContext, limit_s: float) -> None:
        self.folder, self.out, self.limit_s = state_dir / RANKS, out, limit_s
        self.phase, self.step, self.passes = "loading", 0, 0
        self.nonfinite: Any = 0.0
        self.unlabeled: Any = False
        self.idle_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="step-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        # At once: so a rank that hangs before the first check is named with its node, too.
        self._write_if_can()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.phase = "ended"
        self._write_if_can()

    def set_phase(self, phase: str) -> None:
        """Set the current phase of this rank: loading, reading, computing, waiting, saving..."""
        self.phase = phase
        if phase == "computing":
            self.passes += 1

    def write(self) -> None:
        """Write this rank's progress for the others. No fsync: only running processes read it."""
        state = RankState(
            rank=self.out.rank,
            attempt=self.out.attempt,
            node=os.environ.get("HALA_NODE", socket.gethostname()),
            step=self.step,
            passes=self.passes,
            phase=self.phase,
            time=time.time(),
        )
        file = self.folder / f"rank-{self.out.rank}.json"
        temporary = file.with_name(f".{file.name}.tmp")
        temporary.write_text(state.to_json())
        temporary.replace(file)

    def _write_if_can(self) -> None:
        # A short outage of the file server must not end a training.
        with contextlib.suppress(OSError):
            self.write()

    def _watch(self) -> None:
        last_state, checked_at = None, time.monotonic()
        while not self._ended.wait(CHECK_INTERVAL_S):
            self._write_if_can()
            now = time.monotonic()
            # A late check means that the whole job was suspended, not that a rank hangs.
            passed_s = min(now - checked_at, 2 * CHECK_INTERVAL_S)
            same = (
                last_state == (self.step, self.phase in LONG_PHASES)
                and self.phase not in LONG_PHASES
            )
            self.idle_s = self.idle_s + passed_s if same else 0.0
            last_state, checked_at = (self.step, self.phase in LONG_PHASES), now
            if self.idle_s > self.limit_s:
                # The stacks of all threads, for the log: a hang leaves no other trace.
                faulthandler.dump_traceback(STDERR)
                self.out.abort(self.make_hang_error())
                return

    def make_hang_error(self) -> RankHung:
        """Return the error that names the slow rank."""
        found = find_slow_ranks(self.folder, self.out, min(SILENT_S, self.limit_s / 2))
        return RankHung(
            f"no step ended in {self.idle_s:.0f} s after step {self.step} "
            f"(step_timeout_min={self.limit_s / 60:g}); {found.text}",
            # Only the first: a node is excluded for hangs only if it is the cause.
            nodes=found.nodes[:1],
        )


def find_slow_ranks(folder: Path, out: UnitContext, silent_s: float = SILENT_S) -> SlowRanks:
    """Return the ranks that are silent for `silent_s` or behind the others, with their nodes."""
    mine = folder / f"rank-{out.rank}.json"
    now = mine.stat().st_mtime if mine.exists() else time.time()
    alive: list[RankState] = []
    silent: list[str] = []
    nodes: list[str] = []
    for rank in range(out.world_size):
        file = folder / f"rank-{rank}.json"
        state, age_s = read_state(file, now)
        if state is None:
            silent.append(f"rank {rank} has never reported")
        elif state.attempt != out.attempt:
            silent.append(f"rank {rank} has not reported in this attempt")
        elif age_s > silent_s:
            nodes.append(state.node)
            silent.append(
                f"rank {rank} on {state.node} is silent for {age_s:.0f} s "
                f"({state.phase}, step {state.step})"
            )
        else:
            alive.append(state)
    if silent:
        return SlowRanks("; ".join(silent), tuple(nodes))
    furthest = max((state.step, state.passes) for state in alive)
    slow = [state for state in alive if (state.step, state.passes) < furthest]
    if not slow:
        return SlowRanks("all ranks are at the same step and report regularly")
    texts = [f"rank {s.rank} on {s.node} is behind ({s.phase}, step {s.step})" for s in slow]
    return SlowRanks("; ".join(texts), tuple(s.node for s in slow))


def read_state(file: Path, now: float) -> tuple[RankState | None, float]:
    """Return a rank's progress and its age in seconds; None if absent or incomplete.

    The age uses the clock of the file server, as those of the nodes may differ.
    """
    try:
        return RankState.read_if_valid(file), now - file.stat().st_mtime
    except OSError:
        return None, 0.0
