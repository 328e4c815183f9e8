"""Jobs that request GPUs get an environment that is built for them, or are refused."""

import os
import sys
from pathlib import Path

import pytest
from builds import environment, pythons
from checkout import ROOT
from command_line import CommandResult, launch, recipe, run_command
from fake_slurm import FakeSlurm, on_path

from hala_hpc.core.builds import find_torch_build, lacks_job_libraries, own_build
from hala_hpc.core.errors import CONFIG, NO_INPUT
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.paths import environment_python

FIX = "HALA_DEVICE=cuda make env"
DRY = "dry_run=true"


def arguments_for(folder: Path, gpus: int = 1, table: str = "") -> list[str]:
    """A node that requests GPUs of a cluster, by a launcher with more lines."""
    (folder / "rows.jsonl").write_text('{"instruction": "Say 1", "output": "1"}\n')
    (folder / "site.toml").write_text(f'backend = "slurm"\n{table}')
    text = (
        f'[rows]\nstage = "prepare"\ndata = "{folder}/rows.jsonl"\n'
        f"[rows.resources]\ngpus_per_node = {gpus}\n"
        '[words]\nstage = "translate"\nmodel = "lab/model"\ncorpus = "@rows"\n'
    )
    return [recipe(folder, text), f"launcher={folder}/site.toml", f"work={folder}/work"]


def refused(ended: CommandResult, *texts: str) -> None:
    assert ended.code == CONFIG, ended
    assert "Traceback" not in ended.err
    for text in texts:
        assert text in ended.out + ended.err, (text, ended)


def test_a_build_for_cpus_is_refused_by_dry_run_launch_and_doctor(tmp_path: Path) -> None:
    arguments = arguments_for(tmp_path, table=pythons(tmp_path, "cpu"))
    plan = launch("stage=all", *arguments, DRY)
    refused(plan, FIX, "2.13.0+cpu", "rows requests GPUs")
    assert "2 would be submitted" in plan.out, "the plan is printed all the same"
    refused(launch("stage=all", *arguments), FIX)
    refused(run_command(*arguments, module="doctor"), FIX)
    assert not (tmp_path / "work").exists()


def test_a_build_for_gpus_leads_to_what_is_not_fetched(tmp_path: Path) -> None:
    arguments = arguments_for(tmp_path, table=pythons(tmp_path, "cuda"))
    assert launch("stage=all", *arguments, DRY).code == 0
    ended = launch("stage=all", *arguments, HF_HOME=str(tmp_path), PATH="/nowhere")
    assert (ended.code, "python -m hala_hpc.fetch stage=all" in ended.err) == (NO_INPUT, True), (
        ended
    )


def test_jobs_without_gpus_or_for_cpus_accept_either_build(tmp_path: Path) -> None:
    table = pythons(tmp_path, "cpu")
    assert launch("stage=all", *arguments_for(tmp_path, gpus=0, table=table), DRY).code == 0
    means_cpus = f'{table}\n[environment]\nHALA_DEVICE = "cpu"\n'
    assert launch("stage=all", *arguments_for(tmp_path, table=means_cpus), DRY).code == 0
    here = [*arguments_for(tmp_path, table=table)[::2], "launcher=local", DRY]
    assert launch("stage=all", *here).code == 0


def test_another_device_is_refused_with_the_two_there_are(tmp_path: Path) -> None:
    arguments = arguments_for(tmp_path, table='[environment]\nHALA_DEVICE = "gpu"\n')
    ended = launch("stage=all", *arguments, DRY)
    assert ended.code != 0
    assert "HALA_DEVICE is neither cpu nor cuda" in ended.err


def test_an_environment_that_only_submits_is_reported_with_the_table_to_write(
    tmp_path: Path,
) -> None:
    arguments = arguments_for(tmp_path, gpus=0, table=pythons(tmp_path))
    refused(
        launch("stage=all", *arguments), "no torch", '[python] main = "<clone>/.venv/bin/python"'
    )
    refused(run_command(*arguments, module="doctor"), "no torch", "[python] main = ")


def test_the_build_is_read_from_files(tmp_path: Path) -> None:
    found_devices = {
        device: find_torch_build(str(environment(tmp_path / device, device)))
        for device in ("cpu", "cuda")
    }
    assert {name: build and build.device for name, build in found_devices.items()} == {
        "cpu": "cpu",
        "cuda": "cuda",
    }
    light = environment(tmp_path / "light")
    assert (find_torch_build(str(light)), lacks_job_libraries(str(light))) == (None, True)
    # Nothing is known of a program that enters a container, nor of one that is not there.
    assert (find_torch_build("/usr/bin/env"), lacks_job_libraries("/usr/bin/env")) == (None, False)
    assert (
        find_torch_build("/nowhere/bin/python"),
        lacks_job_libraries("/nowhere/bin/python"),
    ) == (None, False)
    own = own_build()
    assert own is not None
    assert own.version.startswith("2.")
    assert find_torch_build(sys.executable) == own
    assert not lacks_job_libraries(sys.executable)


def test_an_environment_that_sees_other_packages_is_not_called_light(tmp_path: Path) -> None:
    python = environment(tmp_path / "env")
    (tmp_path / "env" / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    assert not lacks_job_libraries(str(python))


def test_jobs_of_a_cluster_take_the_build_for_gpus_that_is_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, device in {
        ".venv": "cpu",
        ".venv-quantize": "cpu",
        ".venv-cuda": "cuda",
        ".venv-quantize-cuda": "cuda",
    }.items():
        environment(tmp_path / name, device)
    for running in (".venv", ".venv-cuda", ".venv-quantize", ".venv-quantize-cuda"):
        monkeypatch.setattr(sys, "prefix", str(tmp_path / running))
        monkeypatch.setattr(sys, "executable", str(tmp_path / running / "bin/python"))
        # What stands there is looked at, not what this process imports.
        monkeypatch.setattr("hala_hpc.core.builds.own_build", lambda: None)
        environment_python.cache_clear()
        here = running.endswith("-cuda")
        for env, name in (("main", ".venv"), ("quantize", ".venv-quantize")):
            taken = {
                (backend, device): folder_of(backend, env, device)
                for backend in ("slurm", "local")
                for device in ("", "cpu", "cuda")
                if not running.startswith(name) or running.removesuffix("-cuda") != name
            }
            expected = {
                ("slurm", ""): f"{name}-cuda",
                ("slurm", "cpu"): name,
                ("slurm", "cuda"): f"{name}-cuda",
                ("local", ""): f"{name}-cuda" if here else name,
                ("local", "cpu"): name,
                ("local", "cuda"): f"{name}-cuda",
            }
            assert taken.items() <= expected.items(), running
    environment_python.cache_clear()


def folder_of(backend: str, env: str, device: str) -> str:
    """Name of the environment that a launcher takes."""
    variables = {"HALA_DEVICE": device} if device else {}
    launcher = Launcher.model_validate(
        {"name": "site", "backend": backend, "environment": variables}
    )
    return Path(launcher.python_of(env)).parent.parent.name


def test_the_trial_cluster_calculates_on_cpus(tmp_path: Path) -> None:
    arguments = arguments_for(tmp_path)[::2]
    table = (ROOT / "launchers/minislurm.toml").read_text() + pythons(tmp_path, "cpu")
    (tmp_path / "mini.toml").write_text(table)
    assert launch("stage=all", *arguments, f"launcher={tmp_path}/mini.toml", DRY).code == 0


def test_a_guessed_launcher_without_a_controller_is_reported_before_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = FakeSlurm(on_path(tmp_path / "bin", monkeypatch))
    for name in ("sbatch", "srun", "scontrol", "sinfo"):
        slurm.add(name, "echo 'Unable to contact slurm controller' >&2; exit 1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    ended = launch("stage=translate", f"work={tmp_path}/work", cwd=tmp_path)
    assert ended.code == 69, ended
    assert "launcher=local" in ended.err
    assert os.environ["PATH"].startswith(str(tmp_path))
