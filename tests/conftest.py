"""Fixtures that several tests share."""

from pathlib import Path

import pytest
from minislurm_fixture import *  # noqa: F403 - the fixture of the real SLURM


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder that does not exist yet."""
    return tmp_path / "work"
