"""Process trees: find the descendants of a process, and let none outlive its parent."""

import contextlib
import ctypes
import os
import signal
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

#: Constant of prctl(2).
PR_SET_PDEATHSIG = 1


def signal_on_parent_exit(number: signal.Signals, parent: int) -> None:
    """Let the kernel send this process a signal when its parent ends, however it ended.

    Called between fork and exec; `parent` is the process that forked, which may be gone by now.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def find_descendants(tops: Iterable[int]) -> list[int]:
    """Every living descendant of some processes, and their sessions, whose parents may be gone."""
    children, sessions = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name of the program, in brackets, may hold blanks.
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            state, parent, _, session = fields[:4]
            if state != "Z":
                children[int(parent)].append(int(process.name))
                sessions[int(session)].append(int(process.name))
    tops = set(tops)
    found, ahead = set[int](), set(tops)
    while ahead:
        one = ahead.pop()
        found.add(one)
        # A session has the number of the process that created it.
        ahead |= {*children[one], *sessions[one]} - found
    return sorted(found - tops)


def kill_processes(processes: Iterable[int]) -> None:
    """Kill processes, stopped or not; those that are gone are ignored."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
