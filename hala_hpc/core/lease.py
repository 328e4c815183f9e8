"""One launch at a time in a work folder."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import RETRY, UserError
from hala_hpc.core.files import claim_json, read_json

#: How often a holder shows that it is there, and after what silence one of another host is gone:
#: the clock of the file system counts, and attributes may be cached for a minute.
BEAT_S = 10
SILENCE_S = 180


@contextlib.contextmanager
def work_lease(work: Path, patience_s: float = 0) -> Iterator[None]:
    """Hold the folder while the block runs.

    Raises UserError (75) naming host, process and since when, if another launch holds it and still
    does after `patience_s`. The lease of a process that is gone is taken over.
    """
    path = work / "launch.lease"
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%F %T")}
    until_s = time.monotonic() + patience_s
    while (holder := take(path, mine)) is not None:
        if time.monotonic() >= until_s:
            raise UserError(
                f"another launch works in {work}: process {holder['pid']} on {holder['host']} "
                f"since {holder['since']}; wait for it, or remove {path} when it is gone",
                RETRY,
            )
        time.sleep(0.5)
    over = threading.Event()
    threading.Thread(target=beat, args=(path, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        path.unlink(missing_ok=True)


def take(path: Path, mine: dict[str, Any]) -> dict[str, Any] | None:
    """Claim a lease; None when it is ours now, else who holds it."""
    while not claim_json(path, mine):
        holder: dict[str, Any] | None = read_json(path)
        if holder is None:
            continue
        if is_there(holder, path):
            return holder
        # Of all who find that it is gone, one at a time may remove what it left, after a new look:
        # two that just did would remove each other's new lease.
        removal = path.with_name(f".{path.name}.removal")
        if (other := take(removal, mine)) is not None:
            return other
        try:
            if read_json(path) == holder:
                path.unlink()
        finally:
            removal.unlink(missing_ok=True)
    return None


def is_there(holder: dict[str, Any], path: Path) -> bool:
    """Whether the process that holds a lease still runs, as far as can be known from here."""
    if holder["host"] == socket.gethostname():
        return is_running(holder["pid"])
    return silence_s(path) < SILENCE_S


def silence_s(path: Path) -> float:
    """Seconds since the last sign of a holder, by the clock of the file system."""
    probe = path.with_name(f".{path.name}.{os.getpid()}.probe")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def beat(path: Path, over: threading.Event) -> None:
    """Show that the holder is there until it is over."""
    while not over.wait(BEAT_S):
        with contextlib.suppress(OSError):
            os.utime(path)


def is_running(pid: int) -> bool:
    """Whether a process of this host has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
