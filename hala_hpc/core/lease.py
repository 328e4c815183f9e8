"""One launch at a time in a work folder."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from hala_hpc.core.errors import RETRY, UserError
from hala_hpc.core.files import claim_json, read_json


@contextlib.contextmanager
def work_lease(work: Path) -> Iterator[None]:
    """Hold the folder while the block runs.

    Raises UserError (75) naming host, process and since when, if another launch holds it. The
    lease of a process of this host that is gone is taken over.
    """
    path = work / "launch.lease"
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%F %T")}
    while not claim_json(path, mine):
        holder = read_json(path)
        if holder is None:
            continue
        if holder["host"] != mine["host"] or is_running(holder["pid"]):
            raise UserError(
                f"another launch works in {work}: process {holder['pid']} on {holder['host']} "
                f"since {holder['since']}; wait for it, or remove {path} when it is gone",
                RETRY,
            )
        path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether a process of this host has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
