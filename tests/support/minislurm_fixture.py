"""A real SLURM for the tests that need one, started once per session."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT

MINISLURM = ROOT / "slurm" / "minislurm"
#: Exit codes of minislurm if it cannot run: a package or root is missing.
CANNOT_RUN = (69, 77)


def run_minislurm(*arguments: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run slurm/minislurm."""
    return subprocess.run(
        [sys.executable, str(MINISLURM), *map(str, arguments)],
        env={**os.environ, **variables},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def need_slurm(done: "subprocess.CompletedProcess[str]") -> None:
    """Skip if this machine cannot run SLURM; fail instead if SLURM is required."""
    if done.returncode in CANNOT_RUN and os.environ.get("HALA_REQUIRE_SLURM") != "1":
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def minislurm() -> Iterator[Path]:
    """The SLURM_CONF of a running cluster, also set in the environment."""
    folder = Path(tempfile.mkdtemp(prefix="minislurm-"))
    with pytest.MonkeyPatch.context() as patch:
        try:
            need_slurm(run_minislurm("up", "--folder", folder))
            patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
            yield folder / "slurm.conf"
        finally:
            done = run_minislurm("down", "--folder", folder)
            shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode in (0, *CANNOT_RUN), done.stderr
