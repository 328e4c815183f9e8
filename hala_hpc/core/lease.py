"""One launch at a time in a work folder."""

import contextlib
import os
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from uuid import uuid4

from hala_hpc.core.damage import Damaged, set_aside
from hala_hpc.core.errors import RETRY, UserError
from hala_hpc.core.printable import command
from hala_hpc.core.records import LaunchLease
from hala_hpc.core.server_clock import age_s

#: How often a holder shows that it is there, and after what silence one of another host is gone:
#: the clock of the file system counts, and attributes may be cached for a minute.
BEAT_S = 10
SILENCE_S = 180
#: How long a gate is waited for that submits nodes, in seconds.
GATE_PATIENCE_S = 300


class WorkLease:
    """The lease of a work folder, held by this process until another takes it over.

    A process that was suspended, or cut off from the file system, is taken for gone; when it goes
    on it must look before it submits or removes anything.
    """

    def __init__(self, path: Path, mine: LaunchLease) -> None:
        self.path, self.mine = path, mine

    def require(self) -> None:
        """Raise UserError (RETRY) if another holds the folder now."""
        holder = LaunchLease.read_if_sound(self.path)
        if holder == self.mine:
            return
        who = f"process {holder.pid} on {holder.host} has" if holder else "nobody has"
        raise UserError(
            f"this command was away for too long and lost {self.path}, which {who} now: it submits "
            f"nothing more; see what runs with {command('status', f'work={self.path.parent}')}",
            RETRY,
        )


@contextlib.contextmanager
def work_lease(
    work: Path, patience_s: float = 0, holder: Literal["launch", "gate"] = "launch"
) -> Iterator[WorkLease]:
    """Hold the folder while the block runs; `holder` says to others what holds it.

    A gate that holds it is waited for, as it submits what fits and leaves. The lease of a process
    that is gone is taken over.

    Raises: UserError (RETRY) naming host, process and since when, if another launch holds it and
    still does after `patience_s`.
    """
    path = lease_file(work)
    mine = LaunchLease(
        host=socket.gethostname(),
        pid=os.getpid(),
        since=time.strftime("%F %T"),
        holder=holder,
        token=uuid4().hex,
    )
    wait_for_lease(path, mine, patience_s)
    over = threading.Event()
    threading.Thread(target=beat, args=(path, mine, over), daemon=True).start()
    try:
        yield WorkLease(path, mine)
    finally:
        over.set()
        remove(path, mine, mine)


def lease_file(work: Path) -> Path:
    """Where the lease of a work folder lies."""
    return work / "launch.lease"


def cure_of_lease(path: Path) -> str:
    """What helps where the process that holds a lease ran elsewhere and is no more."""
    return f"when it is gone run `rm {shlex.quote(str(path))}`"


def wait_for_lease(path: Path, mine: LaunchLease, patience_s: float) -> None:
    """Take the lease, or raise UserError (RETRY) when it is not free in time."""
    began, has_told = time.monotonic(), False
    while (other := take(path, mine)) is not None:
        is_gate = other.holder == "gate"
        kind = "a gate submits nodes" if is_gate else "another launch works"
        text = f"{kind} in {path.parent}: process {other.pid} on {other.host} since {other.since}"
        if time.monotonic() - began >= max(patience_s, GATE_PATIENCE_S if is_gate else 0):
            raise UserError(f"{text}; wait for it, or {cure_of_lease(path)}", RETRY)
        if is_gate and not has_told:
            # Few commands wait here, and the others answer sooner without it. A command sets up no
            # logging: Python then writes the bare text to stderr.
            import logging

            logging.getLogger(__name__).warning("%s; waiting for it", text)
            has_told = True
        time.sleep(0.5)


def take(path: Path, mine: LaunchLease) -> LaunchLease | None:
    """Claim a lease; None when it is ours now, else who holds it."""
    while not mine.claim(path):
        try:
            holder = LaunchLease.read(path)
        except Damaged:
            # Nobody's: who has written it finds out before it submits anything.
            other = remove(path, None, mine)
        else:
            if holder is None:
                continue
            if is_there(holder, path):
                return holder
            other = remove(path, holder, mine)
        if other is not None:
            return other
    return None


def remove(path: Path, holder: LaunchLease | None, mine: LaunchLease) -> LaunchLease | None:
    """Remove a lease if it is still that of `holder`, None for a damaged one; who else removes it
    now, or None.

    One process at a time may do so, after a new look: two that just did would remove each other's
    new lease, and one that was stalled would remove that of its successor.
    """
    removal = path.with_name(f".{path.name}.removal")
    if (other := take(removal, mine)) is not None:
        return other
    try:
        if LaunchLease.read_if_sound(path) == holder:
            set_aside(path) if holder is None else path.unlink()
    finally:
        removal.unlink(missing_ok=True)
    return None


def is_there(holder: LaunchLease, path: Path) -> bool:
    """Whether the process that holds a lease still runs, as far as can be known from here."""
    if holder.host == socket.gethostname():
        return is_running(holder.pid)
    return silence_s(path) < SILENCE_S


def silence_s(path: Path) -> float:
    """Seconds since the last sign of a holder, by the clock of the file system."""
    try:
        return age_s(path)
    except FileNotFoundError:
        return 0.0


def beat(path: Path, mine: LaunchLease, over: threading.Event) -> None:
    """Show that the holder is there until it is over, or until another has taken the lease."""
    while not over.wait(BEAT_S):
        with contextlib.suppress(OSError):
            if LaunchLease.read_if_sound(path) == mine:
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
