"""sbatch flags, names, secrets, and the cost of a dry run, tested without SLURM."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import STAGES

from benchmarks.common.waiting import WAIT_S
from hala_hpc.backends.slurm.backend import NO_SBATCH, SlurmBackend, task_environment
from hala_hpc.backends.slurm.sacct import NO_STEP
from hala_hpc.backends.slurm.sbatch import EXPORTED
from hala_hpc.core.errors import TransientError, UserError
from hala_hpc.core.job import Job
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.paths import find_toml, read_toml, shipped_folder
from hala_hpc.core.resources import Resources


def make_job(folder: Path, **fields: Any) -> Job:
    wanted: dict[str, Any] = {
        "arguments": ("word",),
        "array_size": 1,
        "resources": Resources(),
    } | fields
    return Job("test-job", "this", python=sys.executable, folder=folder / "jobs", **wanted)


def test_without_sbatch_the_fix_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no `sbatch` on the PATH" in SlurmBackend().preflight()[0]
    assert "launcher=local" in SlurmBackend().preflight()[0]
    with pytest.raises(UserError, match="no `sbatch` on the PATH") as caught:
        SlurmBackend().submit(make_job(tmp_path))
    assert caught.value.code == 69
    assert "--partition=low" in SlurmBackend().command(
        make_job(tmp_path, resources=Resources(options={"partition": "low"}))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 'a"\nrm -rf /'}, "a job name has"),
        ({"name": "x" * 65}, "a job name has"),
        ({"folder": Path("/tmp/50%/x")}, "must be an absolute path without %"),
        ({"folder": Path("runs/x")}, "must be an absolute path"),
        ({"python": "/bin/python'"}, "must be an absolute path"),
        ({"after_ok": ("12; ls",)}, "'12; ls' is not a job id"),
        ({"after_ok": ("12\n",)}, "is not a job id"),
        ({"array_size": 0}, "nothing to run"),
        ({"setup": ("module load a\n#SBATCH --uid=0",)}, "must be one line"),
        ({"setup": ("export HF_TOKEN=hf_abc",)}, "HF_TOKEN looks like a secret"),
        ({"environment": {"OPENAI_API_KEY": "sk"}}, "OPENAI_API_KEY looks like a secret"),
        ({"environment": {"A": "b\nc"}}, "the value of A has a line break"),
        ({"environment": {"A B": "c"}}, "'A B' cannot be set"),
        ({"environment": {"SLURM_CONF": "/x"}}, "'SLURM_CONF' cannot be set"),
    ],
)
def test_values_that_slurm_would_misread_are_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message.replace("%", "%")) as caught:
        SlurmBackend().command(replace(make_job(tmp_path), **change))
    assert caught.value.code == 78


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("partition", "low high", "has a blank"),
        ("account", "a'b", "has a blank"),
        ("qos", "x\n#SBATCH --uid=0", "has a blank"),
        ("comment", "$(id)", "has a blank"),
        ("partiton", "low", "did you mean 'partition'?"),
        ("time", "10", "use `timeout_min`"),
        ("gpus_per_task", "1", "but NCCL needs them"),
        ("cpus_per_task", "4", "use `cpus_per_rank`"),
        ("output", "/tmp/x", "the pipeline sets it"),
        ("gpu_flag", "tres", "must look like gres|gpus-per-node"),
        ("max_running", "0", "must look like"),
    ],
)
def test_options_of_a_launcher_are_checked(
    argument: str, value: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        SlurmBackend().command(make_job(tmp_path, resources=Resources(options={argument: value})))
    assert message in str(caught.value)
    assert f"options.{argument}" in str(caught.value)


def test_variables_that_only_sound_like_secrets_are_allowed(tmp_path: Path) -> None:
    fine = {"HF_TOKEN_PATH": "/home/me/token", "TOKENIZERS_PARALLELISM": "false", "MAX_TOKENS": "5"}
    assert "MAX_TOKENS=5" in SlurmBackend().command(make_job(tmp_path, environment=fine))


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({}, ["gpus-per-node=2"]),
        ({"gpu_type": "h100"}, ["gpus-per-node=h100:2"]),
        ({"gpu_type": "h100", "gpu_flag": "gres"}, ["gres=gpu:h100:2"]),
        ({"gpu_flag": "gres", "gres": "nvme:1"}, ["gres=gpu:2,nvme:1"]),
        ({"gres": "nvme:1"}, ["gpus-per-node=2", "gres=nvme:1"]),
    ],
)
def test_gpus_are_requested_as_the_site_requires(
    options: dict[str, str], lines: list[str], tmp_path: Path
) -> None:
    arguments = SlurmBackend().command(
        make_job(tmp_path, resources=Resources(gpus_per_node=2, options=options))
    )
    asked = [argument.removeprefix("--") for argument in arguments]
    assert [argument for argument in asked if argument.startswith(("gpu", "gres"))] == lines


def test_an_empty_option_removes_a_flag(tmp_path: Path) -> None:
    arguments = SlurmBackend().command(make_job(tmp_path, resources=Resources(options={"mem": ""})))
    assert not [argument for argument in arguments if argument.startswith("--mem")]


HARMLESS = {
    "propagate": "MEMLOCK,STACK",
    "mem_bind": "verbose,local",
    "time_min": "06:00:00",
    "deadline": "2026-12-24T18:00:00",
    "contiguous": "true",
    "segment": "16",
    "ntasks_per_socket": "4",
    "get_user_env": "true",
    "comment": "thesis of Ada, run 2",
}


def test_options_that_sites_use_are_passed_on_each_as_one_argument(tmp_path: Path) -> None:
    arguments = SlurmBackend().command(make_job(tmp_path, resources=Resources(options=HARMLESS)))
    expected = [
        f"--{argument.replace('_', '-')}" + ("" if value == "true" else f"={value}")
        for argument, value in HARMLESS.items()
    ]
    assert [argument for argument in arguments if argument in expected] == expected


@pytest.mark.alone
def test_fifty_commands_cost_little_time_and_import_nothing_heavy(tmp_path: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.core.job import Job
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.paths import find_toml, read_toml
from hala_hpc.core.resources import Resources
started_s = time.process_time()
job = Job("a", print, ((1,),) * 9, sys.executable, Resources(), Path({str(tmp_path)!r}))
for _ in range(50):
    SlurmBackend().command(job)
assert not {{"torch", "numpy", "vllm", "submitit"}} & set(sys.modules)
print(started_s, time.process_time() - started_s)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=WAIT_S
    )
    # Relative to the start of any command, so that the speed of the machine cancels out.
    started_s, commands_s = map(float, done.stdout.split())
    assert commands_s < 0.25 * started_s
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_was_taken_down_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", f"{tmp_path}/gone.conf")
    (result,) = SlurmBackend().preflight() if shutil.which("sbatch") else [NO_SBATCH]
    assert "gone.conf does not exist; `unset SLURM_CONF`" in result or result == NO_SBATCH
    with pytest.raises(TransientError, match="does not exist"):
        SlurmBackend().query_queue(["1"])


def test_outside_of_a_job_there_is_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert task_environment() == {}


SFT_ON_THE_EXAMPLE_SITE = [
    "sbatch",
    "--job-name=test-job",
    "--time=1440",
    "--nodes=2",
    "--ntasks-per-node=8",
    "--cpus-per-task=12",
    "--mem=1800GB",
    "--gpus-per-node=h100:8",
    "--array=0-1",
    "--dependency=afterok:12:13,afterany:14",
    "--kill-on-invalid-dep=yes",
    "--requeue",
    "--signal=USR2@300",
    f"--export={','.join(EXPORTED)}",
    "--chdir=/scratch/sft/jobs",
    "--output=/scratch/sft/jobs/job-%A_%a.out",
    "--open-mode=append",
    "--partition=gpu",
    "--account=my-project",
    "--exclusive",
    str(shipped_folder("slurm") / "job.sbatch"),
    "--setup",
    "module load cuda\nmodule load nccl",
    "--variable",
    "OMP_NUM_THREADS=8",
    "--srun",
    "--cpus-per-task=12",
    "--srun",
    "--export=ALL",
    "--srun",
    "--kill-on-bad-exit=1",
    "--srun",
    "--wait=0",
    "--",
    sys.executable,
    "-u",
    "-m",
    "this",
    "word",
]


def test_the_sbatch_command_of_a_training_on_the_example_site() -> None:
    site = Launcher(name="h100-site", **read_toml(find_toml("launcher", "h100-site")))
    shape = {"nodes": 2, "ranks_per_node": 8, "gpus_per_node": 8}
    job = make_job(
        Path("/scratch/sft"),
        array_size=2,
        resources=Resources.model_validate({**shape, **site.resources_of("sft-1b", "sft")}),
        environment=site.environment,
        setup=("module load cuda", "module load nccl"),
        after_ok=("12", "13"),
        after_any=("14",),
    )
    assert SlurmBackend().command(job) == SFT_ON_THE_EXAMPLE_SITE


@pytest.mark.parametrize("name", ["slurm", "h100-site", "minislurm"])
@pytest.mark.parametrize("stage", STAGES)
def test_every_launcher_makes_a_command_for_every_stage(
    name: str, stage: str, tmp_path: Path
) -> None:
    site = Launcher(name=name, **read_toml(find_toml("launcher", name)))
    for asked in (Resources.model_validate(site.resources_of("node", stage)), site.gate_resources):
        arguments = SlurmBackend().command(make_job(tmp_path, resources=asked))
        assert f"--time={asked.timeout_min}" in arguments


@pytest.mark.parametrize(("codes", "ended"), [((125, 0), 0), ((125, 137, 66), 66), ((1,), 1)])
def test_a_gate_whose_srun_starts_nothing_waits_for_the_kill_and_tries_again(
    codes: tuple[int, ...], ended: int, tmp_path: Path
) -> None:
    """srun gets no step while SLURM takes its node, and exits with the requested code."""
    tried, waited = tmp_path / "tried", tmp_path / "waited"
    answers = "".join(f"{number}) exit {code};;" for number, code in enumerate(codes, 1))
    lines = {
        "srun": f'echo "$SLURM_EXIT_ERROR" >> {tried}\ncase $(wc -l < {tried}) in {answers} esac',
        "sleep": f'echo "$1" >> {waited}',
    }
    for name, line in lines.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    script = [str(shipped_folder("slurm") / "job.sbatch"), "--tries", "3", "--", "gate"]
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["bash", *script], env={"PATH": path}, timeout=WAIT_S, check=False)
    assert done.returncode == ended
    assert tried.read_text() == f"{NO_STEP}\n" * len(codes)
    assert waited.exists() == (NO_STEP in codes)
