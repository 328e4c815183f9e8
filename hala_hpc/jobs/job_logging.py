"""Logging of jobs: each line has time, level, node, rank, attempt and module.

A program that runs as a job calls `set_up_logging` at its start; modules write to
`logging.getLogger(__name__)`. Only the logger of this package is configured. The root logger and
those of libraries are unchanged, and importing the package installs no handler.
"""

import logging
import os
import socket
import sys
from datetime import datetime

#: Name of the parent logger of all modules.
PACKAGE = __name__.partition(".")[0]


class JobFormatter(logging.Formatter):
    """`2026-11-30T10:00:00.123+01:00 INFO node3 rank 0 r0001-w00003-12_3-0 hala_hpc.gate: text`."""

    def __init__(self, attempt: str, rank: int, node: str) -> None:
        where = f"{node} rank {rank} {attempt}".replace("%", "%%")
        super().__init__(f"%(asctime)s %(levelname)s {where} %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Time in ISO 8601 format, with the time zone of this machine."""
        del datefmt
        moment = datetime.fromtimestamp(record.created).astimezone()
        return moment.isoformat(timespec="milliseconds")


def set_up_logging(attempt: str = "-", rank: int = 0, node: str = "") -> None:
    """Log the modules of this package to stderr; a later call replaces an earlier one.

    `attempt` is the name of the attempt, or another name of the job. `node` is the scheduler's
    name of this machine, by default HALA_NODE or the host name.
    """
    handler = logging.StreamHandler(sys.stderr)
    node = node or os.environ.get("HALA_NODE", "") or socket.gethostname()
    handler.setFormatter(JobFormatter(attempt, rank, node))
    logger = logging.getLogger(PACKAGE)
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    # Otherwise a library that configures the root logger would print each line twice.
    logger.propagate = False
