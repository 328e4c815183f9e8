"""Real disks of a few megabytes, for tests of full disks."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.common.waiting import WAIT_S


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a tmpfs of this size at `folder` for the block; skip if mounting fails."""
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(argv, check=False, capture_output=True, timeout=WAIT_S).returncode:
        pytest.skip("cannot mount a tmpfs: requires root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=WAIT_S)


def fill_disk(disk: Path) -> Path:
    """Fill a disk with one file; return it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65_536))
        except OSError:
            return filler
