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
from hala_hpc.core.printable import format_command
from hala_hpc.core.records import LaunchLease
from hala_hpc.core.server_clock import file_age_s

#: How often a holder shows that it is there, and after what silence one of another host is gone:
#: the clock of the file system counts, and attributes may be cached for a minute.
HEARTBEAT_S = 10
HEARTBEAT_TIMEOUT_S = 180
#: How long a gate is waited for that submits nodes, in seconds.
GATE_WAIT_S = 300


class WorkLease:
    """The lease of a work folder, held by this process until another takes it over.

    A process that was suspended, or cut off from the file system, is taken for gone; when it goes
    on it must look before it submits or removes anything.
    """

    def __init__(self, path: Path, mine: LaunchLease) -> None:
        self.path, self.mine = path, mine

    def require(self) -> None:
        """Raise UserError (RETRY) if another holds the folder now."""
        holder = LaunchLease.read_if_valid(self.path)
        if holder == self.mine:
            return
        who = f"process {holder.pid} on {holder.host} has" if holder else "nobody has"
        raise UserError(
            f"this command was away for too long and lost {self.path}, which {who} now: it submits "
            f"nothing more; see what runs with {format_command('status', f'work={self.path.parent}')}",
            RETRY,
        )


@contextlib.contextmanager
def work_lease(
    work: Path, wait_s: float = 0, holder: Literal["launch", "gate"] = "launch"
) -> Iterator[WorkLease]:
    """Hold the folder while the block runs; `holder` says to others what holds it.

    A gate that holds it is waited for, as it submits what fits and leaves. The lease of a process
    that is gone is taken over.

    Raises: UserError (RETRY) naming host, process and since when, if another launch holds it and
    still does after `patience_s`.
    """
    path = launch_lease_file(work)
    mine = LaunchLease(
        host=socket.gethostname(),
        pid=os.getpid(),
        since=time.strftime("%F %T"),
        holder=holder,
        token=uuid4().hex,
    )
    wait_for_lease(path, mine, wait_s)
    stop_event = threading.Event()
    threading.Thread(target=send_heartbeats, args=(path, mine, stop_event), daemon=True).start()
    try:
        yield WorkLease(path, mine)
    finally:
        stop_event.set()
        remove_lease(path, mine, mine)


def launch_lease_file(work: Path) -> Path:
    """Where the lease of a work folder lies."""
    return work / "launch.lease"


def describe_lease_fix(path: Path) -> str:
    """What helps where the process that holds a lease ran elsewhere and is no more."""
    return f"when it is gone run `rm {shlex.quote(str(path))}`"


def wait_for_lease(path: Path, mine: LaunchLease, wait_s: float) -> None:
    """Take the lease, or raise UserError (RETRY) when it is not free in time."""
    began, is_reported = time.monotonic(), False
    while (other := acquire_lease(path, mine)) is not None:
        is_gate = other.holder == "gate"
        kind = "a gate submits nodes" if is_gate else "another launch works"
        text = f"{kind} in {path.parent}: process {other.pid} on {other.host} since {other.since}"
        if time.monotonic() - began >= max(wait_s, GATE_WAIT_S if is_gate else 0):
            raise UserError(f"{text}; wait for it, or {describe_lease_fix(path)}", RETRY)
        if is_gate and not is_reported:
            # Few commands wait here, and the others answer sooner without it. A command sets up no
            # logging: Python then writes the bare text to stderr.
            import logging

            logging.getLogger(__name__).warning("%s; waiting for it", text)
            is_reported = True
        time.sleep(0.5)


def acquire_lease(path: Path, mine: LaunchLease) -> LaunchLease | None:
    """Claim a lease; None when it is ours now, else who holds it."""
    while not mine.claim(path):
        try:
            holder = LaunchLease.read(path)
        except Damaged:
            # Nobody's: who has written it finds out before it submits anything.
            other = remove_lease(path, None, mine)
        else:
            if holder is None:
                continue
            if is_holder_running(holder, path):
                return holder
            other = remove_lease(path, holder, mine)
        if other is not None:
            return other
    return None


def remove_lease(path: Path, holder: LaunchLease | None, mine: LaunchLease) -> LaunchLease | None:
    """Remove a lease if it is still that of `holder`, None for a damaged one; who else removes it
    now, or None.

    One process at a time may do so, after a new look: two that just did would remove each other's
    new lease, and one that was stalled would remove that of its successor.
    """
    removal = path.with_name(f".{path.name}.removal")
    if (other := acquire_lease(removal, mine)) is not None:
        return other
    try:
        if LaunchLease.read_if_valid(path) == holder:
            set_aside(path) if holder is None else path.unlink()
    finally:
        removal.unlink(missing_ok=True)
    return None


def is_holder_running(holder: LaunchLease, path: Path) -> bool:
    """Whether the process that holds a lease still runs, as far as can be known from here."""
    if holder.host == socket.gethostname():
        return is_running(holder.pid)
    return heartbeat_age_s(path) < HEARTBEAT_TIMEOUT_S


def heartbeat_age_s(path: Path) -> float:
    """Seconds since the last sign of a holder, by the clock of the file system."""
    try:
        return file_age_s(path)
    except FileNotFoundError:
        return 0.0


def send_heartbeats(path: Path, mine: LaunchLease, stop_event: threading.Event) -> None:
    """Show that the holder is there until it is over, or until another has taken the lease."""
    while not stop_event.wait(HEARTBEAT_S):
        with contextlib.suppress(OSError):
            if LaunchLease.read_if_valid(path) == mine:
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
