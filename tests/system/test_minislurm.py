"""The cluster on one machine: it starts, prints how to use it, and leaves nothing."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from minislurm_fixture import MINISLURM, need_slurm, run_minislurm

from benchmarks.common.waiting import WAIT_S

sys.path.insert(0, str(MINISLURM.parent))
cluster, errors = (importlib.import_module(f"rig.{name}") for name in ("cluster", "errors"))


def processes_of(folder: Path) -> list[str]:
    """Command lines of what still carries the cluster's folder in its environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{folder}/".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.slurm
def test_up_twice_is_one_cluster_and_down_leaves_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("rig", numbered=True) / "r"
    first = run_minislurm("up", "--folder", folder)
    need_slurm(first)
    try:
        command = f"export SLURM_CONF={folder}/slurm.conf"
        assert first.stdout == command + "\n"
        assert run_minislurm("up", "--folder", folder).stdout == command + "\n"
        assert run_minislurm("status", "--folder", folder).returncode == 0
        conf = {**os.environ, "SLURM_CONF": f"{folder}/slurm.conf"}
        # A job that ignores SIGTERM, with a child in a session of its own.
        stubborn = "trap '' TERM; setsid sleep 900 & sleep 900"
        arguments = ["sbatch", "--parsable", "--output=/dev/null", f"--wrap={stubborn}"]
        subprocess.run(arguments, env=conf, check=True, capture_output=True, timeout=WAIT_S)
        subprocess.run(["srun", "--partition=high", "true"], env=conf, check=True, timeout=WAIT_S)
    finally:
        done = run_minislurm("down", "--folder", folder)
    assert done.returncode == 0, done.stderr
    assert not folder.exists()
    assert processes_of(folder) == []


@pytest.mark.slurm
def test_a_daemon_that_does_not_start_is_shown_with_its_own_message(
    tmp_path: Path, minislurm: Path
) -> None:
    assert minislurm.exists()
    fake = tmp_path / "bin" / "slurmdbd"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'fatal: the moon is full' >&2\nexit 1\n")
    fake.chmod(0o755)
    folder = tmp_path / "rig"
    done = run_minislurm("up", "--folder", folder, PATH=f"{fake.parent}:{os.environ['PATH']}")
    try:
        assert done.returncode == 70
        assert "slurmdbd did not start" in done.stderr
        assert "fatal: the moon is full" in done.stderr
        assert done.stdout == ""
        assert processes_of(folder) == []
    finally:
        run_minislurm("down", "--folder", folder)


def test_without_root_it_prints_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["slurm/minislurm", "up"])
    with pytest.raises(errors.RigError, match="run: sudo -E slurm/minislurm up") as caught:
        cluster.check_root()
    assert caught.value.code == 77


def test_missing_packages_are_named_with_the_command_that_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PACKAGES", {"sh": "dash", "slurmfoo": "foo", "barctl": "bar"})
    with pytest.raises(errors.RigError, match=r"missing: bar, foo; run: sudo \S+") as caught:
        cluster.check_machine(tmp_path / "rig")
    assert caught.value.code == 69
    fix = str(caught.value).partition("run: sudo ")[2].split()
    assert Path(fix[0]) == ROOT / "env" / "system-packages"
    assert fix[1] == "install,"


@pytest.mark.parametrize("name", ["a b", "50%", "x" * 100])
def test_a_folder_that_slurm_cannot_name_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PACKAGES", {})
    with pytest.raises(errors.RigError, match="run: export MINISLURM_DIR=") as caught:
        cluster.check_machine(Path("/tmp") / name)
    assert caught.value.code == 78


@pytest.mark.skipif(os.geteuid() != 0, reason="root rights are required first")
@pytest.mark.parametrize("command", ["up", "down"])
def test_a_folder_of_another_user_is_left_alone(command: str, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = run_minislurm(command, "--folder", tmp_path)
    assert done.returncode in (69, 73)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
