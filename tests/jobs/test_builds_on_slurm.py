"""A job on SLURM whose environment is built for CPUs, which is unknown before it starts."""

import sys
from pathlib import Path

import pytest
from command_line import launch, one_row_recipe
from slow_run import read_node_states

from benchmarks.common.waiting import wait_until
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import CONFIG, FailureClass
from hala_hpc.jobs.node_health import has_gpu_build

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.skipif(has_gpu_build(), reason="the torch of this environment is built for GPUs"),
]


def wrapper(folder: Path) -> Path:
    """A program that starts the interpreter, as one that enters a container does."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.usefixtures("minislurm")
def test_the_attempt_refuses_it_with_the_fix_and_is_not_retried(tmp_path: Path, work: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        f'backend = "slurm"\n[python]\nmain = "{wrapper(tmp_path)}"\n[resources]\n'
        "cpus_per_rank = 1\nmem_gb = 1\ntimeout_min = 5\ngpus_per_node = 1\n"
        'options.partition = "low"\n[gate]\ntimeout_min = 5\nmem_gb = 1\n'
    )
    arguments = ["stage=all", one_row_recipe(tmp_path), f"work={work}", f"launcher={site}"]
    assert launch(*arguments).code == 0
    wait_until(
        lambda: read_node_states(work)["corpus"]["state"] == "failed",
        "the end of the node",
        pause_s=1,
        state=lambda: read_node_states(work),
    )
    failure = Artifact(work / "latest" / "corpus").failure()
    assert failure is not None
    assert failure.code == CONFIG
    assert {reason.kind for reason in failure.reasons} == {FailureClass.CONFIG_ERROR}
    assert "HALA_DEVICE=cuda make env" in failure.reasons[0].text
    assert len(list((work / "latest/corpus/rounds").glob("*.json"))) == 1
