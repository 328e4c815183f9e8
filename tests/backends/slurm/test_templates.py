"""The sbatch templates: complete, consistent, clean, and without flags of a site."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from checkout import ROOT

from hala_hpc.backends.slurm.sbatch import ALLOWED_OPTIONS, EXPORTED, SIGNAL_DELAY_S
from hala_hpc.core.stage_registry import stage_names

TEMPLATES = sorted((ROOT / "slurm").glob("*.sbatch"))
#: Variables by which a template finds the clone, its environment and the site's shell lines.
OWN = ("HALA_HOME", "HALA_SITE", "HALA_PYTHON")
#: Not for users: the script of every job of a launch, and the launch itself.
OTHERS = {"job", "launch"}
#: Stages of the demo only.
DEMO = {"sample", "tiny"}
LIMIT_S = 60


def flags(path: Path) -> dict[str, str]:
    """sbatch flags in the header of a template."""
    found = re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", path.read_text(), re.M)
    return dict(found)


def by_hand() -> list[Path]:
    return [path for path in TEMPLATES if path.stem not in OTHERS]


def test_every_stage_has_a_template() -> None:
    names = {path.stem for path in by_hand()}
    assert names >= set(stage_names()) - DEMO
    assert names - set(stage_names()) == {"chain", "gate", "node"}


@pytest.mark.parametrize("path", by_hand(), ids=lambda path: path.stem)
def test_a_template_gets_the_variables_of_a_launch_and_no_other(path: Path) -> None:
    assert flags(path)["export"].split(",") == [*EXPORTED, *OWN]


@pytest.mark.parametrize("path", by_hand(), ids=lambda path: path.stem)
def test_a_template_names_nothing_of_a_site(path: Path) -> None:
    site = set(ALLOWED_OPTIONS) - {"mem"}
    assert not site & set(flags(path)), flags(path)


@pytest.mark.parametrize("path", by_hand(), ids=lambda path: path.stem)
def test_what_waits_for_a_job_that_failed_ends(path: Path) -> None:
    if path.stem == "chain":
        pytest.skip("nothing comes before it")
    found = flags(path)
    assert found["kill-on-invalid-dep"] == "yes"
    if path.stem != "gate":
        assert found["signal"] == f"USR2@{SIGNAL_DELAY_S}"
        assert "requeue" in found
        assert found["open-mode"] == "append"


def test_the_templates_are_clean() -> None:
    if shutil.which("shellcheck") is None:
        assert os.environ.get("HALA_REQUIRE_SLURM") != "1", "env/system-packages install"
        pytest.skip("shellcheck is not here")
    files = [*TEMPLATES, ROOT / "slurm/prologue.sh"]
    arguments = ["shellcheck", "--external-sources", *map(str, files)]
    done = subprocess.run(
        arguments, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stdout


def run_in_clone(path: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], **variables}
    arguments = ["bash", str(path), "work=x"]
    return subprocess.run(
        arguments, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )


def test_a_template_that_finds_no_clone_names_the_variable(tmp_path: Path) -> None:
    done = run_in_clone(ROOT / "slurm/translate.sbatch", SLURM_SUBMIT_DIR=str(tmp_path))
    assert done.returncode == 78
    assert "HALA_HOME" in done.stderr
    assert str(tmp_path / "slurm/prologue.sh") in done.stderr


def test_a_template_without_an_environment_names_the_command(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "slurm", tmp_path / "slurm", ignore=shutil.ignore_patterns("__pycache__")
    )
    done = run_in_clone(ROOT / "slurm/merge.sbatch", HALA_HOME=str(tmp_path))
    assert done.returncode == 78
    assert "make env" in done.stderr


def test_the_lines_of_a_site_are_sourced_first(tmp_path: Path) -> None:
    (tmp_path / "site.sh").write_text("HALA_PYTHON=echo\n")
    site = str(tmp_path / "site.sh")
    done = run_in_clone(ROOT / "slurm/sft.sbatch", HALA_HOME=str(ROOT), HALA_SITE=site)
    assert done.stdout == "-u -m hala_hpc.template worker stage=sft work=x\n"
    gone = run_in_clone(ROOT / "slurm/sft.sbatch", HALA_HOME=str(ROOT), HALA_SITE=site + "x")
    assert gone.returncode == 66
    assert "HALA_SITE" in gone.stderr
