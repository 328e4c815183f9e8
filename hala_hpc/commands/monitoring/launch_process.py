"""The launch that works in a folder now: found by its lease, and ended as Ctrl-C would."""

import os
import signal
import socket
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hala_hpc.backends.local import STOP_WAIT_S
from hala_hpc.core.errors import RETRY, TransientError, UserError
from hala_hpc.core.lease import describe_lease_fix, launch_lease_file
from hala_hpc.core.records import LaunchLease

#: The workers have `STOP_WAIT_S` to commit, and the launch a little more to leave.
END_LIMIT_S = STOP_WAIT_S + 15
#: How a word of the command line of a launch ends.
LAUNCH_PROGRAMS = (b"hala_hpc.launch", b"/hala_hpc/launch.py")
#: Programs whose next argument is the name of a command.
COMMAND_PROGRAMS = (b"hala", b"hala_hpc")


@dataclass(frozen=True)
class LaunchProcess:
    """Who holds the lease of a work folder."""

    pid: int
    host: str
    lease: Path

    def require_here(self) -> None:
        """Raise UserError (75) when it is a process of another machine."""
        if self.host != socket.gethostname():
            raise UserError(
                f"the launch of this run is process {self.pid} on {self.host}: "
                f"give this line there, or {describe_lease_fix(self.lease)}",
                RETRY,
            )

    @property
    def is_running(self) -> bool:
        """Whether the process is there and is a launch: its number may be another's by now."""
        try:
            arguments = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        commands = (
            command
            for program, command in pairwise(arguments)
            if program.rpartition(b"/")[2] in COMMAND_PROGRAMS
        )
        is_module = any(argument.endswith(LAUNCH_PROGRAMS) for argument in arguments)
        return is_module or b"launch" in commands

    def end(self) -> None:
        """Ask it to end and wait until it has. Raises Retry when it does not, UserError (75)
        when it is somebody else's.
        """
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        except PermissionError:
            raise UserError(f"process {self.pid} is not yours to end", RETRY) from None
        until_s = time.monotonic() + END_LIMIT_S
        while self.lease.exists() and self.is_running:
            if time.monotonic() > until_s:
                raise TransientError(
                    f"process {self.pid} was told to end and is there after {END_LIMIT_S} s"
                )
            time.sleep(0.2)


def find_launch_process(work: Path) -> LaunchProcess | None:
    """The launch that holds the lease of a folder; None when there is none or it is gone.

    Nor is a gate one that holds it: nobody ends that, it leaves by itself.
    """
    lease = launch_lease_file(work)
    holder = LaunchLease.read_if_valid(lease)
    if holder is None or holder.holder == "gate":
        return None
    found = LaunchProcess(holder.pid, holder.host, lease)
    is_gone = found.host == socket.gethostname() and not found.is_running
    return None if is_gone else found
