"""Log lines of jobs: time, level, node, rank, attempt and module before each; set up here only.

A program that runs as a job calls `set_up_logging` when it begins; modules write to
`logging.getLogger(__name__)`. Only the logger of this package is set up: the root logger and those
of libraries stay as they are, and who only imports the package sees no handler.
"""

import logging
import os
import socket
import sys
from datetime import datetime

#: The logger above those of all modules.
PACKAGE = __name__.partition(".")[0]


class JobFormatter(logging.Formatter):
    """`2026-11-30T10:00:00.123+01:00 INFO node3 rank 0 r0001-w00003-12_3-0 hala_hpc.gate: text`."""

    def __init__(self, attempt: str, rank: int, node: str) -> None:
        where = f"{node} rank {rank} {attempt}".replace("%", "%%")
        super().__init__(f"%(asctime)s %(levelname)s {where} %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """The moment in ISO's form, with the zone of this machine's clock."""
        del datefmt
        moment = datetime.fromtimestamp(record.created).astimezone()
        return moment.isoformat(timespec="milliseconds")


def set_up_logging(attempt: str = "-", rank: int = 0, node: str = "") -> None:
    """Let the modules of this package write lines to stderr; a later call replaces an earlier one.

    `attempt` is the attempt that runs, or what else the job is called; `node` the scheduler's name
    of this machine, by default HALA_NODE or the machine's own name.
    """
    handler = logging.StreamHandler(sys.stderr)
    node = node or os.environ.get("HALA_NODE", "") or socket.gethostname()
    handler.setFormatter(JobFormatter(attempt, rank, node))
    logger = logging.getLogger(PACKAGE)
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    # A library that sets up the root logger would show each line twice.
    logger.propagate = False
