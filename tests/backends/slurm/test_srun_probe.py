"""A program on a compute node: no node in time differs from a program that fails."""

import os
from pathlib import Path

import pytest

from hala_hpc.backends.slurm.srun_probe import NodeRequest, run_on_node
from hala_hpc.core.errors import AllocationTimeout, SchedulerUnavailable, TransientError
from hala_hpc.core.resources import Resources

pytestmark = pytest.mark.kinds


def ask(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str | None) -> str:
    """Output of the probe with this script as `srun`; None: without `srun`."""
    if script is not None:
        program = folder / "srun"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin" if script is not None else str(folder))
    return run_on_node(NodeRequest(Resources(), wait_s=1), ["true"], (), {})


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("echo 'srun: error: Unable to allocate resources: busy' >&2; exit 1", AllocationTimeout),
        ("echo 'Traceback: no module' >&2; exit 1", TransientError),
        (None, SchedulerUnavailable),
    ],
)
def test_why_a_program_did_not_run_is_known_by_the_type(
    script: str | None, kind: type[TransientError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TransientError) as caught:
        ask(tmp_path, monkeypatch, script)
    assert type(caught.value) is kind


def test_what_the_program_prints_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(tmp_path, monkeypatch, "echo found") == "found\n"
