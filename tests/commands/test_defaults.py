"""Defaults of recipe, launcher and work: printed first, from the machine or a lab's own file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import CommandResult, launch, one_row_recipe, run_command
from fake_slurm import FakeSlurm, on_path

from hala_hpc.core.run import read_run

DRY = "dry_run=true"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has chosen nothing, in a folder without a file, on a machine without SLURM."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    return folder


def with_sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login node of a cluster whose controller does not answer."""
    slurm = FakeSlurm(on_path(folder / "bin", monkeypatch))
    for name in ("sbatch", "srun", "scontrol", "sinfo"):
        slurm.add(name, "exit 1")


def first_line(ended: CommandResult) -> str:
    return ended.out.partition("\n")[0]


def user_file(home: Path, text: str) -> Path:
    path = home / ".config" / "hala" / "defaults.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_where_sbatch_is_the_paper_is_submitted_and_nothing_runs_here(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_sbatch(tmp_path, monkeypatch)
    ended = launch("stage=translate", cwd=home)
    assert first_line(ended) == (
        "recipe hala (sbatch is on the PATH), launcher slurm (sbatch is on the PATH), "
        "work runs/hala"
    )
    assert ended.code == 69, ended
    assert "launcher=local" in ended.err
    assert list(home.iterdir()) == []


def test_without_sbatch_the_demo_runs_here(home: Path) -> None:
    ended = launch("stage=translate", DRY, cwd=home)
    assert ended.code == 0, ended
    assert first_line(ended) == (
        "recipe demo (no sbatch is on the PATH), launcher local (no sbatch is on the PATH), "
        "work runs/demo"
    )


def test_what_the_command_names_takes_precedence_and_is_printed_without_a_reason(
    home: Path,
) -> None:
    (home / ".hala.toml").write_text(
        'recipe = "hala"\nlauncher = "h100-site"\nwork = "results"\nbudget_gpu_hours = 5\n'
    )
    ended = launch("stage=translate", "recipe=demo", "launcher=local", DRY, cwd=home)
    assert ended.code == 0, ended
    assert first_line(ended) == (
        "recipe demo, launcher local, work results (.hala.toml), budget_gpu_hours 5 (.hala.toml)"
    )


def test_the_file_of_the_folder_comes_before_that_of_the_user(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_file(home, 'recipe = "hala"\n')
    ended = launch("stage=translate", "launcher=slurm", DRY, cwd=home)
    assert first_line(ended).startswith(
        "recipe hala (~/.config/hala/defaults.toml), launcher slurm"
    )
    (home / ".hala.toml").write_text('recipe = "demo"\n')
    ended = launch("stage=translate", "launcher=slurm", DRY, cwd=home)
    assert first_line(ended).startswith("recipe demo (.hala.toml)")
    (home / ".hala.toml").unlink()
    elsewhere = tmp_path / "settings" / "hala"
    elsewhere.mkdir(parents=True)
    (elsewhere / "defaults.toml").write_text('launcher = "site.toml"\n')
    (elsewhere / "site.toml").write_text('backend = "slurm"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    ended = launch("stage=translate", "recipe=demo", DRY, cwd=home)
    assert f"launcher {elsewhere}/site.toml ({elsewhere}/defaults.toml)" in first_line(ended)
    assert ended.code == 0, ended


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('luncher = "local"', "unknown key luncher: did you mean 'launcher'?"),
        ("launcher = 3", "launcher=3: write a string in quotes"),
        ('max_gpu_hours = "many"', "max_gpu_hours='many': write a number"),
        ("budget_gpu_hours = -1", "budget_gpu_hours=-1: write a number"),
        ("launcher = ", "is not valid TOML"),
    ],
)
def test_a_file_that_is_not_valid_is_refused_with_its_key(
    home: Path, text: str, message: str
) -> None:
    path = user_file(home, text + "\n")
    ended = launch("stage=all", cwd=home)
    assert (ended.code, ended.out) == (78, ""), ended
    assert str(path) in ended.err
    assert message in ended.err


def test_a_file_that_is_not_valid_stops_every_command_that_would_read_it(home: Path) -> None:
    path = user_file(home, "launcher = \n")
    for module, arguments in (("status", []), ("cancel", []), ("doctor", ["job=false"])):
        ended = run_command(*arguments, module=module, cwd=home)
        assert (ended.code, str(path) in ended.err) == (78, True), ended


def test_a_file_that_others_may_write_or_own_is_refused(home: Path) -> None:
    path = home / ".hala.toml"
    path.write_text('launcher = "local"\n')
    for mode in (0o620, 0o602):
        path.chmod(mode)
        ended = launch("stage=all", DRY, cwd=home)
        assert (ended.code, "chmod go-w .hala.toml" in ended.err) == (78, True), ended
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
        ended = launch("stage=all", DRY, cwd=home)
        assert (ended.code, "belongs to another user" in ended.err) == (78, True), ended


def test_commands_use_the_folder_of_the_launch(home: Path) -> None:
    argument = one_row_recipe(home)
    (home / ".hala.toml").write_text(
        f'recipe = "{argument.removeprefix("recipe=")}"\nlauncher = "local"\nwork = "mine"\n'
    )
    assert launch("stage=all", cwd=home).code == 0
    for module, arguments in (
        ("status", ["format=json"]),
        ("logs", []),
        ("verify", []),
        ("retry", [DRY]),
        ("cancel", [DRY]),
    ):
        ended = run_command(*arguments, module=module, cwd=home)
        assert ended.code == 0, (module, ended)
        assert ended.err.startswith("work mine (.hala.toml)\n"), (module, ended)
    assert json.loads(run_command("format=json", module="status", cwd=home).out)["nodes"]


def test_the_command_of_a_run_contains_its_defaults(home: Path) -> None:
    argument = one_row_recipe(home)
    (home / ".hala.toml").write_text('launcher = "local"\nbudget_gpu_hours = 7.5\n')
    assert launch("stage=all", argument, "work=mine", cwd=home).code == 0
    run = read_run(home / "mine")
    assert (run.overrides["launcher"], run.overrides["budget_gpu_hours"]) == ("local", "7.5")
    (home / ".hala.toml").unlink()
    again = launch(*run.launch_command.split()[3:], cwd=Path("/"))
    assert (again.code, "nothing to submit" in again.out) == (0, True), again


def test_no_run_is_ended_or_changed_that_is_not_named(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_sbatch(tmp_path, monkeypatch)
    for module, arguments in (("cancel", []), ("retry", []), ("verify", ["repair=true"])):
        ended = run_command(*arguments, module=module, cwd=home)
        assert (ended.code, "name a run" in ended.err) == (64, True), (module, ended)
    ended = run_command(module="status", cwd=home)
    assert ended.code == 66
    assert ended.err.startswith("work runs/hala (recipe hala (sbatch is on the PATH))\n")


def test_a_user_without_a_home_has_no_defaults(tmp_path: Path, home: Path) -> None:
    for name in (str(tmp_path / "gone"), "/dev/null"):
        assert launch("stage=translate", DRY, cwd=home, HOME=name).code == 0


def test_a_bare_python_reads_them() -> None:
    """env/setup asks before there is an environment."""
    code = "import sys; import hala_hpc.commands.defaults; print('pydantic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"
