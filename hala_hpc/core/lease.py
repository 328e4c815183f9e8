"""The lease of a work folder: one launch at a time."""

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

#: Interval of a holder's heartbeats, and their age at which a holder on another host counts as
#: gone. The clock of the file system counts, and attributes may be cached for a minute.
HEARTBEAT_S = 10
HEARTBEAT_TIMEOUT_S = 180
#: How long to wait for a gate that submits nodes, in seconds.
GATE_WAIT_S = 300


class WorkLease:
    """The lease of a work folder, held by this process until another takes it over.

    A process that was suspended, or cut off from the file system, counts as gone. When it resumes
    it must check the lease before it submits or removes anything.
    """

    def __init__(self, path: Path, mine: LaunchLease) -> None:
        self.path, self.mine = path, mine

    def require(self) -> None:
        """Raise UserError (RETRY) if another process holds the folder now."""
        holder = LaunchLease.read_if_valid(self.path)
        if holder == self.mine:
            return
        who = f"process {holder.pid} on {holder.host}" if holder else "no process"
        status = format_command("status", f"work={self.path.parent}")
        raise UserError(
            f"this command was suspended for too long and lost {self.path}, which {who} holds now: "
            f"it submits nothing more; see what runs with {status}",
            RETRY,
        )


@contextlib.contextmanager
def work_lease(
    work: Path, wait_s: float = 0, holder: Literal["launch", "gate"] = "launch"
) -> Iterator[WorkLease]:
    """Hold the lease of a folder while the block runs; `holder` tells others what holds it.

    If a gate holds it, this call waits: a gate submits what fits and exits. The lease of a process
    that is gone is taken over.

    Raises: UserError (RETRY) naming host, process and start time if another launch still holds it
    after `wait_s`.
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
    """Path of the lease of a work folder."""
    return work / "launch.lease"


def describe_lease_fix(path: Path) -> str:
    """The fix if the process that holds a lease ran on another host and is gone."""
    return f"when it is gone run `rm {shlex.quote(str(path))}`"


def wait_for_lease(path: Path, mine: LaunchLease, wait_s: float) -> None:
    """Take the lease. Raises: UserError (RETRY) if it is not free in time."""
    began, is_reported = time.monotonic(), False
    while (other := acquire_lease(path, mine)) is not None:
        is_gate = other.holder == "gate"
        kind = "a gate submits nodes" if is_gate else "another launch is running"
        text = f"{kind} in {path.parent}: process {other.pid} on {other.host} since {other.since}"
        if time.monotonic() - began >= max(wait_s, GATE_WAIT_S if is_gate else 0):
            raise UserError(f"{text}; wait for it, or {describe_lease_fix(path)}", RETRY)
        if is_gate and not is_reported:
            # Few commands wait here, and the others answer sooner without the import. A command
            # sets up no logging: Python then writes the bare text to stderr.
            import logging

            logging.getLogger(__name__).warning("%s; waiting for it", text)
            is_reported = True
        time.sleep(0.5)


def acquire_lease(path: Path, mine: LaunchLease) -> LaunchLease | None:
    """Claim a lease; None if it is ours now, else its holder."""
    while not mine.claim(path):
        try:
            holder = LaunchLease.read(path)
        except Damaged:
            # Damaged, so no process holds it: its writer finds out before it submits anything.
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
    """Remove the lease of `holder`, or a damaged one for None, unless another process does so now.

    Returns the lease of that process, or None. One process at a time may do so, after another
    check. Otherwise two processes that had just checked would remove each other's new lease, and
    a stalled one that of its successor.
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
    """Whether the process that holds a lease still runs, as far as this host can find out."""
    if holder.host == socket.gethostname():
        return is_running(holder.pid)
    return heartbeat_age_s(path) < HEARTBEAT_TIMEOUT_S


def heartbeat_age_s(path: Path) -> float:
    """Seconds since the last heartbeat of a holder, by the clock of the file system."""
    try:
        return file_age_s(path)
    except FileNotFoundError:
        return 0.0


def send_heartbeats(path: Path, mine: LaunchLease, stop_event: threading.Event) -> None:
    """Touch the lease until `stop_event` is set, or until another process has taken it."""
    while not stop_event.wait(HEARTBEAT_S):
        with contextlib.suppress(OSError):
            if LaunchLease.read_if_valid(path) == mine:
                os.utime(path)


def is_running(pid: int) -> bool:
    """Whether a process with this number runs on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
