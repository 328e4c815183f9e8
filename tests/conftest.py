"""Fixtures that several tests share."""

import os
import signal
from pathlib import Path

import pytest
from minislurm_fixture import *  # noqa: F403 - the fixture of the real SLURM

pytest_plugins = ["leftovers"]

# What a script starts in the background ignores Ctrl-C, what `nohup` starts the end of its
# terminal, and so would all that tests start.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler)

# Tests start a thousand processes, each of which would compile the package anew, for 0.1 s.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder that does not exist yet."""
    return tmp_path / "work"
