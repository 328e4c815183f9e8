"""Which environments `make env` makes, for which device, and what it prints about it.

A stand-in of uv makes empty ones; what it installs for CUDA is looked at by a long test, for real.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from checkout import ROOT
from fake_slurm import FakeSlurm, on_path

from benchmarks.common.waiting import WAIT_S

#: Makes what env/setup reads later, and records its arguments.
STAND_IN = """#!/bin/sh
echo "$@" >>"$UV_LOG"
for last; do :; done
case "$1 $*" in
venv*) rm -rf "$last"; mkdir -p "$last/bin"
    ln -s "$UV_PYTHON_HERE" "$last/bin/python"
    echo "VIRTUAL_ENV='$PWD/$last'" >"$last/bin/activate" ;;
*sync*) [ ! -e "$UV_LOG.fails" ] ;;
esac
"""
#: Free space that the two environments for GPUs and uv's cache need, in bytes.
CUDA_BYTES = 25 * 10**9


class Machine:
    """A clone on a machine with the SLURM and GPUs that a test sets."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self.folder, self.commands = folder, FakeSlurm(bin_folder)
        self.log = folder.parent / "uv.log"
        for name in ("hala_hpc", "launchers"):
            (folder / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "env", folder / "env")
        for name in ("pyproject.toml", "Makefile"):
            shutil.copy(ROOT / name, folder)
        for name in ("sinfo", "scontrol", "nvidia-smi"):
            self.commands.add(name, "exit 1")

    def has_cluster(self, gres: str, name: str = "lab") -> None:
        """SLURM's commands answer with these devices of nodes."""
        self.commands.add("sinfo", f"echo '(null)'; echo '{gres}'")
        self.commands.add("scontrol", f"echo 'ClusterName             = {name}'")

    def set_up(self, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run env/setup to its end."""
        cache = self.folder.parent / "cache"
        (cache / "hala_hpc").mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "env/main-cpu.txt").read_text()
        version = lock.split("\nuv==")[1].split()[0]
        program = cache / "hala_hpc" / f"uv-{version}"
        if not program.exists():
            program.write_text(STAND_IN)
            program.chmod(0o755)
        variables = {
            "XDG_CACHE_HOME": str(cache),
            "UV_LOG": str(self.log),
            "UV_PYTHON_HERE": sys.executable,
            "HALA_PYTHON": sys.executable,
            **env,
        }
        return subprocess.run(
            [self.folder / "env" / "setup", *arguments],
            cwd=self.folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_S,
        )

    def builds(self) -> dict[str, str]:
        """The environments that stand there, and the device of each."""
        stamps = self.folder.glob(".venv*/.hala-stamp")
        return {path.parent.name: path.read_text().split()[0] for path in stamps}

    def folder_of_main(self, *arguments: str, **env: str) -> str:
        """What `env/setup which` prints."""
        return self.set_up("which", *arguments, **env).stdout.strip()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A new clone on a machine without SLURM and GPUs."""
    monkeypatch.delenv("HALA_DEVICE", raising=False)
    folder = tmp_path / "clone"
    folder.mkdir()
    return Machine(folder, on_path(tmp_path / "bin", monkeypatch))


CPU = {".venv": "cpu", ".venv-quantize": "cpu"}
CUDA = {".venv": "cuda", ".venv-quantize": "cuda"}
CUDA_BESIDE = {".venv-cuda": "cuda", ".venv-quantize-cuda": "cuda"}


def test_a_cluster_with_gpus_gets_the_build_for_them_though_its_login_node_has_none(
    machine: Machine,
) -> None:
    machine.has_cluster("gpu:h100:8(S:0-1)")
    ended = machine.set_up()
    assert (ended.returncode, machine.builds()) == (0, CUDA), ended
    first = ended.stderr.splitlines()[0]
    assert first.startswith("environments for cuda: .venv and .venv-quantize (sinfo lists GPUs")
    assert "10 GB in 166,000 files" in ended.stderr
    assert "UV_CACHE_DIR" in ended.stderr
    lock = (machine.folder / ".venv" / ".hala-lock.txt").read_text()
    assert "\ntorch===2.13.0 \\\n" in lock
    machine.log.unlink()
    again = machine.set_up()
    assert again.stderr == "environments for cuda: .venv and .venv-quantize (already here)\n"
    assert not machine.log.exists()


def test_the_fake_gpus_of_the_trial_cluster_do_not_count(machine: Machine) -> None:
    machine.has_cluster("gpu:h100:8", name="minislurm")
    ended = machine.set_up()
    assert (ended.returncode, machine.builds()) == (0, CPU), ended
    assert "neither sinfo nor nvidia-smi lists a GPU; HALA_DEVICE=cuda" in ended.stderr


def test_a_gpu_of_the_machine_itself_counts(machine: Machine) -> None:
    machine.commands.add("nvidia-smi", "echo 'GPU 0: H100'")
    ended = machine.set_up("here")
    assert (ended.returncode, machine.builds()) == (0, CUDA), ended


def test_another_build_stands_beside_and_replaces_nothing(machine: Machine) -> None:
    machine.set_up()
    before = (machine.folder / ".venv/.hala-stamp").stat().st_ino
    machine.has_cluster("gpu:a100:4")
    unchanged = machine.set_up()
    assert machine.builds() == CPU
    assert "already here; HALA_DEVICE=cuda adds those for GPUs beside them" in unchanged.stderr
    ended = machine.set_up(HALA_DEVICE="cuda")
    assert (ended.returncode, machine.builds()) == (0, CPU | CUDA_BESIDE), ended
    assert "(set by HALA_DEVICE)" in ended.stderr
    assert (machine.folder / ".venv/.hala-stamp").stat().st_ino == before
    # Both stay up to date from now on.
    (machine.folder / "env/torch-cpu.txt").write_text("torch==2.13.1+cpu\n")
    both = machine.set_up().stderr
    assert all(f"{name}: environment" in both for name in CPU | CUDA_BESIDE)
    assert machine.folder_of_main() == ".venv"
    assert machine.folder_of_main(HALA_DEVICE="cuda") == ".venv-cuda"


def test_what_runs_here_gets_a_build_that_this_machine_can_use(machine: Machine) -> None:
    machine.has_cluster("gpu:a100:4")
    machine.set_up()
    ended = machine.set_up("here")
    assert machine.builds() == CUDA | {".venv-cpu": "cpu", ".venv-quantize-cpu": "cpu"}, ended
    assert "this machine has no GPU" in ended.stderr
    assert machine.folder_of_main("here") == ".venv-cpu"
    assert machine.folder_of_main() == ".venv"


def test_the_launcher_of_a_lab_decides_which(machine: Machine) -> None:
    (machine.folder / ".hala.toml").write_text('launcher = "site.toml"\n')
    (machine.folder / "site.toml").write_text(
        'backend = "slurm"\n[environment]\nHALA_DEVICE = "cuda"\n'
    )
    ended = machine.set_up()
    assert machine.builds() == CUDA, ended
    assert "(set by launcher site.toml)" in ended.stderr
    for path in machine.folder.glob(".venv*"):
        shutil.rmtree(path)
    (machine.folder / ".hala.toml").unlink()
    assert "(set by launcher site.toml)" in machine.set_up("launcher=site.toml").stderr


def test_an_interrupted_set_up_resumes_with_the_same_build(machine: Machine) -> None:
    fails = machine.log.with_name("uv.log.fails")
    fails.touch()
    assert machine.set_up().returncode != 0
    machine.has_cluster("gpu:a100:4")
    fails.unlink()
    ended = machine.set_up()
    assert (ended.returncode, machine.builds()) == (0, CPU), ended


def wheel(folder: Path, version: str) -> str:
    """A wheel of an empty package; its SHA-256."""
    path = folder / f"tiny-{version}-py3-none-any.whl"
    info = f"tiny-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny.py", "")
        file.writestr(f"{info}/METADATA", metadata)
        file.writestr(f"{info}/WHEEL", tags)
        file.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_folder_with_another_build_of_the_same_version_is_no_obstacle(machine: Machine) -> None:
    folder = machine.folder.parent / "wheels"
    folder.mkdir()
    wheel(folder, "1.0+cpu")
    lock = f"tiny==1.0 \\\n    --hash=sha256:{wheel(folder, '1.0')}\n"
    for name in ("main", "quantize"):
        (machine.folder / f"env/{name}-cuda.txt").write_text(lock)
    # The real uv, without this package itself.
    uv = f'case "$*" in *--editable*) exit 0 ;; esac; exec "{sys.executable}" -m uv "$@"'
    machine.set_up("which")
    (program,) = (machine.folder.parent / "cache" / "hala_hpc").glob("uv-*")
    program.write_text(f"#!/bin/sh\n{uv}\n")
    links = {"PIP_FIND_LINKS": str(folder), "PIP_EXTRA_INDEX_URL": "", "PIP_INDEX_URL": ""}
    ended = machine.set_up("cuda", UV_CACHE_DIR=str(folder.parent / "uv"), **links)
    assert ended.returncode == 0, ended
    for name in CUDA:
        installed = (machine.folder / name).glob("lib/python3*/site-packages/tiny-*.dist-info")
        assert [path.name for path in installed] == ["tiny-1.0.dist-info"]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_environments_for_gpus_are_installed_and_import_what_jobs_import(
    tmp_path: Path,
) -> None:
    if shutil.disk_usage(tmp_path).free < CUDA_BYTES:
        pytest.skip(f"{tmp_path} has less than {CUDA_BYTES / 1e9:.0f} GB left")
    for name in ("env", "hala_hpc", "launchers", "slurm"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    needs = {
        ".venv": "torch, vllm, transformers, trl, deepspeed, lm_eval, mergekit, liger_kernel",
        ".venv-quantize": "torch, llmcompressor",
    }
    try:
        done = subprocess.run(
            [tmp_path / "env" / "setup"],
            env={**os.environ, "HALA_DEVICE": "cuda"},
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        assert done.returncode == 0, done
        for folder, modules in needs.items():
            code = f"import {modules}; assert torch.version.cuda, torch.__version__"
            python = tmp_path / folder / "bin" / "python"
            done = subprocess.run(
                [python, "-c", code], capture_output=True, text=True, check=False, timeout=600
            )
            assert done.returncode == 0, done.stderr
    finally:
        for folder in needs:
            shutil.rmtree(tmp_path / folder, ignore_errors=True)
