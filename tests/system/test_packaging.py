"""What is handed out: the locks of env/ and the wheel."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from checkout import ROOT

from benchmarks.common.waiting import WAIT_S
from hala_hpc import __version__

LOCKS = sorted(ROOT.glob("env/*-cpu.txt")) + sorted(ROOT.glob("env/*-cuda.txt"))


def requirements(lock: Path) -> list[str]:
    """The logical lines of a lock: a requirement with all its hashes on one."""
    text = lock.read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def versions(lock: Path) -> dict[str, str]:
    """Name to version; where a lock has several, the one for the newest Python."""
    return dict(line.split()[0].split("==") for line in requirements(lock))


def test_each_environment_has_a_lock_for_each_device() -> None:
    names = {path.name for path in LOCKS} - {"torch-cpu.txt"}
    assert names == {f"{env}-{on}.txt" for env in ("main", "quantize") for on in ("cpu", "cuda")}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_host(lock: Path) -> None:
    assert re.findall(r"//|@|--(?:extra-)?index|--find-links", lock.read_text()) == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_hashed_but_the_torch_of_the_cpu(lock: Path) -> None:
    for line in requirements(lock):
        assert re.match(r"[a-z0-9._-]+==[^ *]+", line), line
        assert "--hash=sha256:" in line or line == "torch==2.13.0+cpu", line


@pytest.mark.parametrize("name", ["main", "quantize"])
def test_torch_is_one_version_on_both_devices(name: str) -> None:
    cpu = versions(ROOT / "env" / "torch-cpu.txt")["torch"]
    assert cpu == versions(ROOT / "env" / f"{name}-cuda.txt")["torch"] + "+cpu"
    locked = versions(ROOT / "env" / f"{name}-cpu.txt")
    assert not {"torch", "torchvision", "torchaudio", "torchcodec", "vllm"} & set(locked)


def test_locks_agree_with_the_requirements_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in ("main", "quantize"):
        wanted = project["dependencies"] + project["optional-dependencies"][name]
        locked = versions(ROOT / "env" / f"{name}-cuda.txt")
        for line in wanted:
            package, version = re.match(r"([\w-]+)(?:\[\w+\])?(?:==([\w.]+))?", line).groups()  # type: ignore[union-attr]
            # A lock writes names in small letters.
            assert locked[package.lower()].startswith(version or ""), line


def test_the_set_up_ends_at_once_when_nothing_changed() -> None:
    if not (ROOT / ".venv" / ".hala-stamp").exists():
        pytest.skip("this clone was not set up by env/setup")
    done = subprocess.run(
        [ROOT / "env" / "setup"], capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith("environments for ") for line in lines), lines


def test_an_unknown_device_is_refused() -> None:
    done = subprocess.run(
        [ROOT / "env" / "setup", "tpu"], capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert done.returncode == 1
    assert done.stderr == "env/setup: device 'tpu': must be cpu or cuda\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network by the backend of the lock."""
    out = tmp_path_factory.mktemp("wheel")
    command = ["build", "--wheel", "--no-build-isolation", "--offline", "--out-dir", str(out)]
    uv("--quiet", *command, "--python", sys.executable, str(ROOT))
    (built,) = out.glob("*.whl")
    return built


def uv(*arguments: str) -> None:
    """Run the uv of the environment; its own output is the message of a failure."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_wheel_carries_every_recipe_launcher_and_template(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(Path("hala_hpc") / path.relative_to(ROOT / top if top == "hala_hpc" else ROOT))
        for top in ("hala_hpc", "launchers", "slurm")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert any(name.startswith("hala_hpc/recipes/") for name in wanted)
    assert any(name.startswith("hala_hpc/launchers/") for name in wanted)
    assert wanted - inside == set()


@pytest.mark.slow
def test_the_wheel_is_typed_and_carries_its_license_and_its_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    info = Path(metadata).parent
    assert {"hala_hpc/py.typed", f"{info}/licenses/LICENSE"} <= set(archive.namelist())
    text = archive.read(metadata).decode()
    assert f"\nVersion: {__version__}\nSummary: " in text
    assert "\nLicense-Expression: Apache-2.0\n" in text
    commands = archive.read(f"{info}/entry_points.txt").decode()
    assert commands == "[console_scripts]\nhala = hala_hpc.__main__:main\n"


@pytest.mark.slow
def test_an_installed_wheel_plans_the_demo_outside_the_clone(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    python = ["--python", sys.executable, "--target", str(site)]
    uv("--quiet", "pip", "install", "--offline", "--no-deps", *python, str(wheel))
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = "import hala_hpc; print(hala_hpc.__file__)"

    def answer(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert answer("-c", where).startswith(str(site))
    assert "stage=" in answer("-m", "hala_hpc.launch", "--help")
    for launcher in ("local", "slurm") if shutil.which("sbatch") else ("local",):
        overrides = ["stage=all", "recipe=demo", f"launcher={launcher}", "dry_run=true"]
        assert "translate" in answer("-m", "hala_hpc.launch", *overrides)
