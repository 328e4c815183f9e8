"""The doctor on a compute node: findings about GPUs and about submission from there.

GPUs are fake (see `standin/fake_gpus.py`), and so are SLURM's commands; the compiler is real.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkout import STANDIN
from fake_slurm import FakeSlurm, on_path

from benchmarks.common.waiting import WAIT_S
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.resources import Resources
from hala_hpc.doctor.findings import Finding
from hala_hpc.doctor.on_node import NodeFindings, NodeScope, node_findings
from hala_hpc.doctor.scope import DoctorScope, JobShape


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """SLURM whose controller is up and accepts every job."""
    slurm = FakeSlurm(on_path(tmp_path / "slurm", monkeypatch))
    slurm.add("scontrol", 'echo "Slurmctld(primary) at here is UP"')
    slurm.add("srun", "exit 1")
    slurm.add("sbatch", "exit 0")
    return slurm


def run_checks(folder: Path, gpus: int = 0, **env: str) -> list[dict[str, Any]]:
    """The findings of the doctor's program on a node."""
    token = folder / "token"
    token.write_text(token.name)
    resubmits = () if gpus else (Resources(),)
    asked = NodeScope(
        work=str(folder), token=str(token), folders={}, pythons={}, gpus=gpus, resubmits=resubmits
    )
    done = subprocess.run(
        [sys.executable, "-m", "hala_hpc.doctor.on_node", asked.line()],
        env={**os.environ, "SLURMD_NODENAME": "node7", "PYTHONPATH": str(STANDIN), **env},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
    )
    findings: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])["findings"]
    return findings


def of(findings: list[dict[str, Any]], topic: str) -> list[tuple[str, str]]:
    return [(one["state"], one["what"]) for one in findings if one["topic"] == topic]


@pytest.mark.usefixtures("slurm")
def test_a_node_from_which_jobs_can_be_submitted_is_good(tmp_path: Path) -> None:
    assert of(run_checks(tmp_path), "jobs") == [
        ("good", "on node7: `sbatch --test-only` accepts jobs from here")
    ]


def test_a_node_that_may_not_submit_is_reported_with_the_fix(
    tmp_path: Path, slurm: FakeSlurm
) -> None:
    arguments = "allocation failure: Access/permission denied"
    slurm.add("sbatch", f"echo '{arguments}' >&2; exit 1")
    slurm.add("sinfo", "exit 1")
    [found] = [one for one in run_checks(tmp_path) if one["topic"] == "jobs"]
    assert found["state"] == "warn"
    assert "does not accept jobs from here" in found["what"]
    assert "run the same command again after each round" in found["fix"]


def test_a_node_without_slurms_commands_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    [(state, what)] = of(run_checks(tmp_path), "jobs")
    assert state == "warn"
    assert "no `sbatch` on the PATH" in what


FAKE = {"HALA_FAULT": "fake_gpus=", "CUDA_VISIBLE_DEVICES": "0"}


def test_an_old_driver_is_bad_for_every_node_and_names_what_is_needed(tmp_path: Path) -> None:
    found = run_checks(tmp_path, gpus=1, HALA_FAKE_CUDA="12.4", **FAKE)
    [expected] = [one for one in found if "driver 550.54.15" in one["what"]]
    assert (expected["topic"], expected["state"]) == ("gpus", "error")
    assert "needs R580 or newer" in expected["what"]
    assert "ask the admins for a newer driver" in expected["fix"]


@pytest.mark.slow
def test_a_bad_gpu_is_no_fault_of_the_set_up(tmp_path: Path) -> None:
    found = run_checks(tmp_path, gpus=1, HALA_FAKE_ERRORS="3", **FAKE)
    assert ("warn", "on node7: GPU 0 (Fake, GPU-fake-0): 3 uncorrected memory errors (ECC) since "
            "its driver was loaded") in of(found, "gpus")  # fmt: skip


@pytest.mark.slow
def test_good_gpus_are_reported_with_the_checks(tmp_path: Path) -> None:
    found = of(run_checks(tmp_path, gpus=1, **FAKE), "gpus")
    expected = (
        "1 GPUs are free, have no errors and give right results; a Triton kernel compiles and runs"
    )
    assert ("good", f"on node7: {expected}") in found


def test_without_a_build_for_gpus_nothing_is_tried_on_them(tmp_path: Path) -> None:
    assert len(of(run_checks(tmp_path, gpus=1), "gpus")) == 1


def test_it_reports_its_wait_and_uses_one_gpu_if_not_all_are_free(
    tmp_path: Path, slurm: FakeSlurm
) -> None:
    answer = NodeFindings(findings=(Finding("gpus", "good", "on node7: well", "fine"),)).line()
    busy = "echo 'srun: error: Unable to allocate resources: busy' >&2; exit 1"
    slurm.add("srun", f"case \"$*\" in *gpus-per-node=4*) {busy} ;; esac; cat <<'E'\n{answer}\nE")
    messages: list[str] = []
    launcher = Launcher(name="site", backend="slurm")
    doctor_scope = DoctorScope(launcher, tmp_path, {}, job=True)
    kinds = [
        JobShape(("small",), Resources(gpus_per_node=1), 1),
        JobShape(("large",), Resources(gpus_per_node=4), 1),
        JobShape(("gates",), launcher.gate_resources, 1),
    ]
    found = node_findings(doctor_scope, kinds, messages.append)
    assert [one.state for one in found] == ["good", "warn", "good"]
    assert found[1].what == "4 GPUs were not free within 300 s"
    assert [text.partition(" (")[0] for text in messages] == [
        "waiting for a node as gates would get it",
        "waiting for a node with 4 GPUs as large would get it",
        "waiting for a node with 1 GPUs as large would get it",
    ]
