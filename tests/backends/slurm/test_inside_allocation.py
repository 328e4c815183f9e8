"""A local launch inside an allocation of several nodes, as made by `salloc`."""

import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from command_line import one_row_recipe
from job_states import states

from benchmarks.common.waiting import wait_until
from hala_hpc.core.artifact import Artifact
from hala_hpc.jobs.attempt_records import attempt_ends

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("minislurm")]


def test_a_local_launch_inside_an_allocation_of_two_tasks_is_none_of_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hala_hpc.launch", "stage=all", "launcher=local"]
    command += [one_row_recipe(tmp_path), f"work={tmp_path}/work"]
    script = tmp_path / "in-allocation.sh"
    script.write_text(f'#!/bin/bash\nexport PYTHONPATH={ROOT}\nexec "$@"\n')
    result = tmp_path / "result"
    asked = ["-n2", "-N2", "--mem=2G", "--time=5", f"--output={result}", "--parsable"]
    done = subprocess.run(
        ["sbatch", *asked, str(script), *command], capture_output=True, text=True, check=True
    )
    number = done.stdout.strip()
    wait_until(lambda: not states([number]), "the end of the allocation")
    (folder,) = (tmp_path / "work").glob("corpus-*")
    (end,) = attempt_ends(Artifact(folder))
    assert Artifact(folder).summary() is not None, result.read_text()
    assert end.attempt.job.split("_")[0] != number, "the worker took itself for a task of it"
