"""The clock by which a file system dates its files: its server's, not this machine's."""

import contextlib
import os
import time
from functools import cache
from pathlib import Path
from uuid import uuid4


def file_age_s(path: Path) -> float:
    """Seconds since a file was written, by the clock of its file system.

    Raises FileNotFoundError. If no file can be created beside it, the clock of this machine counts.
    """
    return time.time() + clock_offset_s(path.parent) - path.stat().st_mtime


@cache
def clock_offset_s(folder: Path) -> float:
    """How far the clock of a file system is ahead of this machine's; measured once per process."""
    probe = folder / f".clock-{os.getpid()}-{uuid4().hex[:8]}"
    try:
        before = time.time()
        probe.touch()
        return probe.stat().st_mtime - before
    except OSError:
        return 0.0
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
