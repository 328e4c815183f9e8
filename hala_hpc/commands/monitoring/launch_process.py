"""Find the launch that holds the lease of a work folder, and end it as Ctrl-C would."""

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

#: The workers have `STOP_WAIT_S` to commit; the launch gets a little more to exit.
END_LIMIT_S = STOP_WAIT_S + 15
#: Suffixes of the module or file argument in the command line of a launch.
LAUNCH_PROGRAMS = (b"hala_hpc.launch", b"/hala_hpc/launch.py")
#: Programs whose next argument is the name of a command.
COMMAND_PROGRAMS = (b"hala", b"hala_hpc")


@dataclass(frozen=True)
class LaunchProcess:
    """Process that holds the lease of a work folder."""

    pid: int
    host: str
    lease: Path

    def require_here(self) -> None:
        """Raises: UserError (RETRY) if the process runs on another machine."""
        if self.host != socket.gethostname():
            raise UserError(
                f"the launch of this run is process {self.pid} on {self.host}: "
                f"run this command there, or {describe_lease_fix(self.lease)}",
                RETRY,
            )

    @property
    def is_running(self) -> bool:
        """Whether the process exists and is a launch: its pid may have been reused."""
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
        """Send SIGTERM and wait until the process has exited.

        Raises: TransientError if it does not exit, UserError (RETRY) if it belongs to another user.
        """
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        except PermissionError:
            raise UserError(f"process {self.pid} belongs to another user", RETRY) from None
        until_s = time.monotonic() + END_LIMIT_S
        while self.lease.exists() and self.is_running:
            if time.monotonic() > until_s:
                raise TransientError(f"process {self.pid} still runs {END_LIMIT_S} s after SIGTERM")
            time.sleep(0.2)


def find_launch_process(work: Path) -> LaunchProcess | None:
    """The launch that holds the lease of a folder; None if there is none or it has exited.

    None also if a gate holds the lease: gates are never ended, they release it themselves.
    """
    lease = launch_lease_file(work)
    holder = LaunchLease.read_if_valid(lease)
    if holder is None or holder.holder == "gate":
        return None
    found = LaunchProcess(holder.pid, holder.host, lease)
    is_gone = found.host == socket.gethostname() and not found.is_running
    return None if is_gone else found
