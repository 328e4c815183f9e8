"""The script of every job: what it does when srun does not get as far as the command."""

import os
import subprocess
from pathlib import Path

import pytest
from checkout import ROOT
from fake_slurm import FakeSlurm, on_path

SCRIPT = ROOT / "slurm" / "job.sbatch"
LIMIT_S = 60


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    found = FakeSlurm(on_path(tmp_path / "commands", monkeypatch))
    found.add("sleep", f"echo slept $1 >>{tmp_path}/slept")
    return found


def run(*words: str) -> int:
    done = subprocess.run(
        ["bash", str(SCRIPT), *words, "--", "true"],
        env=os.environ,
        check=False,
        timeout=LIMIT_S,
    )
    return done.returncode


@pytest.mark.parametrize("tries", [(), ("--tries", "3")])
def test_a_job_whose_step_slurm_does_not_begin_waits_to_be_taken(
    commands: FakeSlurm, tmp_path: Path, tries: tuple[str, ...]
) -> None:
    """A gate was preempted before its step began: it failed, and the chain ended in silence."""
    commands.add("srun", "echo 'srun: error: Unable to create step' >&2; exit 1")
    assert run(*tries) == 1
    assert (tmp_path / "slept").read_text() == "slept 60\n"


@pytest.mark.parametrize("code", [0, 75, 143])
def test_a_job_whose_command_ended_leaves_with_its_code(
    commands: FakeSlurm, tmp_path: Path, code: int
) -> None:
    commands.add("srun", f"exit {code}")
    assert run() == code
    assert not (tmp_path / "slept").exists()
