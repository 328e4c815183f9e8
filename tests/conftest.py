"""Fixtures that several tests share."""

import os
from pathlib import Path

import pytest
from minislurm_fixture import *  # noqa: F403 - the fixture of the real SLURM

pytest_plugins = ["leftovers"]

# Tests start a thousand processes, each of which would compile the package anew, for 0.1 s.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder that does not exist yet."""
    return tmp_path / "work"
