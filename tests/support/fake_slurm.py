"""Stand-ins for SLURM's commands: scripts with the output that a test sets, first on the PATH."""

import os
from pathlib import Path

import pytest


class FakeSlurm:
    """A folder of commands; a subclass adds those that it needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, body: str) -> None:
        """Add a command that runs these shell lines."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)


def on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new folder that comes first on the PATH, with no cluster named."""
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_CONF", raising=False)
    return folder
