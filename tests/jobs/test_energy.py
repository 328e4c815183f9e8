"""Energy of a node is what accounting measured for all its jobs, and unknown if one is missing."""

from pathlib import Path

import pytest
from fake_slurm import FakeSlurm, on_path
from made_run import MadeRun

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.jobs.energy import measure_energy_kwh
from hala_hpc.jobs.spec import job_name


@pytest.mark.parametrize(
    ("energies", "expected"),
    [
        (("7200000", "3600000"), 3.0),
        (("7200000", ""), None),
        (("0", ""), None),
    ],
)
def test_energy_is_the_sum_over_the_tasks_of_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, energies: tuple[str, str], expected: float
) -> None:
    run = MadeRun(tmp_path / "work")
    artifact = run.add("sft", "sft")
    run.use_gpus(artifact, hours=1)
    name = job_name("", artifact, "key")
    rows = [f"1_{n}|{name}|3600|gres/gpu=2|{energy}" for n, energy in enumerate(energies)]
    slurm = FakeSlurm(on_path(tmp_path / "bin", monkeypatch))
    slurm.add("sacct", "\n".join(f"echo '{row}'" for row in rows))
    found = measure_energy_kwh(run.work, SlurmBackend().query_usage)
    assert found.get(artifact.folder.name) == expected


def test_without_accounting_no_energy_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = MadeRun(tmp_path / "work")
    run.use_gpus(run.add("sft", "sft"), hours=1)
    slurm = FakeSlurm(on_path(tmp_path / "bin", monkeypatch))
    slurm.add("sacct", "exit 1")
    assert measure_energy_kwh(run.work, SlurmBackend().query_usage) == {}
