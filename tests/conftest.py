"""Fixtures that several tests share."""

import os
import signal
from pathlib import Path

import pytest
from minislurm_fixture import *  # noqa: F403 - the fixture of the real SLURM

pytest_plugins = ["leftovers"]

# What a script starts in the background ignores Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start a thousand processes, each of which would compile the package anew, for 0.1 s.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder that does not exist yet."""
    return tmp_path / "work"
