"""Run the parts one after the other, each with its own time limit."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.facts import missing
from benchmarks.gpu.one_part import figures_file
from benchmarks.gpu.parts import Part
from benchmarks.gpu.scale import ROOT
from hala_hpc.core.process_tree import signal_on_parent_exit
from hala_hpc.core.record import JsonRecord

POLL_INTERVAL_S = 0.2
#: Minimum of the remaining time in seconds for a part to start.
MIN_S = 10.0
#: Characters of the end of a part's log in its error.
MAX_CHARACTERS = 400


class PartResult(JsonRecord):
    """Result of a part."""

    part: str
    seconds: float
    error: str | None = None
    """Why it failed; the figures before that count."""
    found: tuple[dict[str, Any], ...] = ()


def run_part(part: Part, size: str, work: Path, left_s: float) -> PartResult:
    """Run a part, and end it when its time or the total time, `left_s`, is up."""
    if gone := missing(part):
        return PartResult(part=part.name, seconds=0, error=f"not here: {', '.join(gone)}")
    if left_s < MIN_S:
        return PartResult(part=part.name, seconds=0, error="no time was left for it")
    limit_s, began = min(part.limit_s, left_s), time.monotonic()
    log = work / f"{part.name}.log"
    command = [sys.executable, "-m", "benchmarks.gpu.one_part", part.name, size, str(work)]
    with log.open("wb") as stream:
        # In its own session, so that its children end with it.
        child = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            start_new_session=True,
            # Or it would hold the card of others when this process is killed.
            preexec_fn=partial(signal_on_parent_exit, signal.SIGKILL, os.getpid()),  # noqa: PLW1509 (one thread)
        )  # fmt: skip
        try:
            ended = watch(child, part.name, work, began + limit_s)
        finally:
            end(child)
    error = None
    if not ended:
        error = f"ended after its {limit_s:.0f} s"
    elif child.returncode:
        error = f"it ended with {child.returncode}: {end_of(log)}"
    found = [json.loads(line) for line in whole_lines(figures_file(work, part.name))]
    seconds = round(time.monotonic() - began, 1)
    return PartResult(part=part.name, seconds=seconds, error=error, found=tuple(found))


def watch(child: subprocess.Popen[bytes], name: str, work: Path, deadline: float) -> bool:
    """Print each figure as it comes; return False if the time was up before the part ended."""
    printed = 0
    while True:
        ended = child.poll() is not None
        lines = whole_lines(figures_file(work, name))
        for line in lines[printed:]:
            print_progress(f"{name}: {line}")
        printed = len(lines)
        if ended or time.monotonic() > deadline:
            return ended
        time.sleep(POLL_INTERVAL_S)


def end(child: subprocess.Popen[bytes]) -> None:
    """End a part with all its children."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def whole_lines(path: Path) -> list[str]:
    """Return the complete lines of a file; none if it does not exist."""
    if not path.exists():
        return []
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def end_of(log: Path) -> str:
    """Return the last line of a log, which has the error of a failed part."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][-MAX_CHARACTERS:] if lines else ""


def print_progress(line: str) -> None:
    """Print a progress line."""
    print(line, file=sys.stderr, flush=True)
