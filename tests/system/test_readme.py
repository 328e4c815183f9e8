"""Every command of the README, run as it stands there."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from checkout import ROOT

from hala_hpc.jobs.node_health import has_gpu_build

#: Run by other tests, or running this one.
ELSEWHERE = {
    "make demo": "test_demo_on_slurm.py runs it on a finished run",
    "make test": "runs this test",
    "make env": "make test begins with it",
    ".venv/bin/python -m hala_hpc.fetch recipe=hala stage=report-1.2b launcher=my-site.toml "
    "work=runs/hala": "test_fetch.py gives such a line to a stand-in of the hub",
}
#: Of templates, with a place for a number: test_templates_on_slurm.py gives such lines.
BY_HAND = re.compile(r"(sbatch|bash) .*slurm/[a-z]+\.sbatch ")

#: They read a run, and there is none yet.
LOOKING = re.compile(
    r"-m hala_hpc\.(status|logs|retry|cancel|verify|rehearsal|publish|ratings|clean|archive) "
)


def refusal(command: str) -> tuple[int, str]:
    """Exit code and message of a command that is refused here; 0 for those that are not."""
    if LOOKING.search(command):
        return 66, "holds no run"
    if "launcher=my-site.toml" in command and not has_gpu_build():
        # This clone has the environments of a machine without a GPU.
        return 78, "HALA_DEVICE=cuda make env"
    if "-m hala_hpc.doctor " in command:
        # No machine that runs this has the models of the recipe.
        return 78, "model LiquidAI/LFM2-1.2B: is not in the hub cache"
    if "-m hala_hpc.launch recipe=hala " in command and "dry_run=true" not in command:
        return 66, "model LiquidAI/LFM2-1.2B: is not in the hub cache"
    return 0, ""


def blocks(kind: str) -> list[str]:
    """The blocks of the README in one language."""
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def commands() -> list[str]:
    """Commands of the shell blocks, in order, without comments; one may take several lines."""
    whole = [re.sub(r"\\\n\s*", "", block) for block in blocks("sh")]
    lines = [line.split("  #")[0].strip() for block in whole for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the clone, to leave nothing behind in the real one."""
    folder = tmp_path_factory.mktemp("clone")
    for name in (
        ".venv",
        ".venv-quantize",
        "env",
        "hala_hpc",
        "launchers",
        "slurm",
        "Makefile",
        "pyproject.toml",
        "README.md",
    ):
        (folder / name).symlink_to(ROOT / name)
    return folder


def run(command: str, cwd: Path, scratch: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "MINISLURM_DIR": str(scratch / "rig"), "HF_HOME": str(scratch / "hub")},
    )


def test_the_readme_shows_how_to_run_the_demo_and_the_tests() -> None:
    assert commands()[:2] == ["make demo", "make test"]


def test_the_commands_of_the_quick_start_work(clone: Path, tmp_path: Path) -> None:
    lines = commands()
    for line in lines[: lines.index("make cluster")]:
        if line in ELSEWHERE or BY_HAND.match(line):
            continue
        code, text = refusal(line)
        done = run(line, clone, tmp_path)
        assert done.returncode == code, (line, done)
        assert text in done.stdout + done.stderr, (line, done)


@pytest.mark.slow
@pytest.mark.slurm
def test_the_commands_of_the_trial_cluster_work(tmp_path: Path, minislurm: Path) -> None:
    assert minislurm.exists()  # this machine can run SLURM; the commands start one of their own
    # In the real clone: make looks after the environments, which must not be moved.
    run_folder = ROOT / "runs/cluster-demo"
    assert not run_folder.exists(), "a run of yours is there; the test would remove it"
    lines = commands()
    block = lines[lines.index("make cluster") : lines.index("make cluster-down")]
    try:
        done = run("set -e\n" + "\n".join(block), ROOT, tmp_path)
        assert done.returncode == 0, done
        recipe = tomllib.loads((ROOT / "hala_hpc/recipes/demo.toml").read_text())
        nodes = len(recipe) - 1 + len(recipe["merge"]["t"])
        assert f"{nodes} nodes submitted" in done.stdout
    finally:
        down = run("make cluster-down", ROOT, tmp_path)
        shutil.rmtree(run_folder, ignore_errors=True)
    assert down.returncode == 0, down
    assert not (tmp_path / "rig").exists()
