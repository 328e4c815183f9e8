"""Notices a training in which no step ends any more, names who is behind, and leaves.

A collective waits for a hung rank for half an hour and then names nobody. Here each rank tells in
a small file how far it is; whoever waits too long reads the files of the others.
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
#: A rank whose file is older than this beside one's own is silent, in seconds.
SILENT_S = 20.0
STDERR = 2
#: Phases in which no step is due: they may take long, and collectives have limits of their own.
LONG_PHASES = ("loading", "saving", "evaluating", "ended")


@dataclass(frozen=True)
class SlowRanks:
    """Which ranks keep the others waiting."""

    text: str
    nodes: tuple[str, ...] = ()
    """Their nodes, those that are known."""


class StepWatchdog:
    """`with StepWatchdog(kept, out, limit_s) as pulse:`, then `pulse.enter(phase)`, `pulse.step`.

    `passes` counts forward passes, so that a rank that hangs before one is told from those that
    wait for it inside. `broken` sums up what must stay finite; see `collectives.any_rank`.
    """

    def __init__(self, state_dir: Path, out: UnitContext, limit_s: float) -> None:
        self.folder, self.out, self.limit_s = state_dir / RANKS, out, limit_s
        self.phase, self.step, self.passes = "loading", 0, 0
        self.nonfinite: Any = 0.0
        self.idle_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="step-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        # At once: a rank that hangs before the first look is named with its node all the same.
        self._write_if_can()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.phase = "ended"
        self._write_if_can()

    def set_phase(self, phase: str) -> None:
        """Say what this rank does now: loading, reading, computing, waiting, saving..."""
        self.phase = phase
        if phase == "computing":
            self.passes += 1

    def write(self) -> None:
        """Tell the others how far this rank is. Not brought to the disk: only the living read."""
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
        # A file server that is away for a moment ends no training.
        with contextlib.suppress(OSError):
            self.write()

    def _watch(self) -> None:
        last_state, checked_at = None, time.monotonic()
        while not self._ended.wait(CHECK_INTERVAL_S):
            self._write_if_can()
            now = time.monotonic()
            # A look that comes late was held up itself: the job is suspended, not a rank.
            passed_s = min(now - checked_at, 2 * CHECK_INTERVAL_S)
            same = (
                last_state == (self.step, self.phase in LONG_PHASES)
                and self.phase not in LONG_PHASES
            )
            self.idle_s = self.idle_s + passed_s if same else 0.0
            last_state, checked_at = (self.step, self.phase in LONG_PHASES), now
            if self.idle_s > self.limit_s:
                # Where every thread is, for the log: a hang has no other witness.
                faulthandler.dump_traceback(STDERR)
                self.out.abort(self.make_hang_error())
                return

    def make_hang_error(self) -> RankHung:
        """That no step ends, and which rank is to blame."""
        found = find_slow_ranks(self.folder, self.out, min(SILENT_S, self.limit_s / 2))
        return RankHung(
            f"no step ended in {self.idle_s:.0f} s after step {self.step} "
            f"(step_timeout_min={self.limit_s / 60:g}); {found.text}",
            # The first alone: a node is excluded for hangs only where it is the one to blame.
            nodes=found.nodes[:1],
        )


def find_slow_ranks(folder: Path, out: UnitContext, silent_s: float = SILENT_S) -> SlowRanks:
    """Which ranks are silent for so long or less far than the others, with their nodes."""
    mine = folder / f"rank-{out.rank}.json"
    now = mine.stat().st_mtime if mine.exists() else time.time()
    alive: list[RankState] = []
    silent: list[str] = []
    nodes: list[str] = []
    for rank in range(out.world_size):
        file = folder / f"rank-{rank}.json"
        state, age_s = read_state(file, now)
        if state is None:
            silent.append(f"rank {rank} has never given a sign of life")
        elif state.attempt != out.attempt:
            silent.append(f"rank {rank} has given no sign of life in this attempt")
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
        return SlowRanks("all ranks are equally far and give signs of life")
    texts = [f"rank {s.rank} on {s.node} is behind ({s.phase}, step {s.step})" for s in slow]
    return SlowRanks("; ".join(texts), tuple(s.node for s in slow))


def read_state(file: Path, now: float) -> tuple[RankState | None, float]:
    """How far a rank is, and how old its word; None where it never wrote, or not whole.

    By the clock of the file server, which is one; those of the nodes may differ.
    """
    try:
        return RankState.read_if_valid(file), now - file.stat().st_mtime
    except OSError:
        return None, 0.0
