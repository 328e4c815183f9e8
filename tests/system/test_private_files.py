"""What decides what jobs run is its user's alone: written so, and refused where it is not."""

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from command_line import CommandResult, launch, one_row_recipe, run_command

OTHER_UID = 65534
#: Everything in a work folder but what the stages write.
CONTROL = ("run.json", "*/config.json", "*/summary.json", "*/rounds/*", "*/done/*", "*/attempts/*")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was finished by a user whose umask lets his group write, in a shared folder."""
    folder = tmp_path_factory.mktemp("finished")
    folder.chmod(0o2775)
    argument = one_row_recipe(folder, units=2)
    (folder / "mine.toml").write_text('backend = "local"\nsetup = ["true"]\n')
    before = os.umask(0o002)
    try:
        done = launch(*arguments_for(folder, folder / "work", argument))
    finally:
        os.umask(before)
    assert done.code == 0, done
    return folder


def arguments_for(folder: Path, work: Path, recipe_argument: str = "") -> list[str]:
    recipe_argument = recipe_argument or f"recipe={folder}/recipe.toml"
    return ["stage=all", recipe_argument, f"launcher={folder}/mine.toml", f"work={work}"]


@pytest.fixture
def unfinished(finished: Path, tmp_path: Path) -> Path:
    """A copy of its work folder of which a unit and the summary are missing."""
    work = tmp_path / "work"
    shutil.copytree(finished / "work", work, symlinks=True)
    node = node_of(work)
    (node / "summary.json").unlink()
    (node / "done" / "00001.json").unlink()
    shutil.rmtree(node / "units" / "00001")
    return work


def node_of(work: Path) -> Path:
    return next(work.glob("corpus-*"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_control_files_are_private_whatever_the_umask_is(finished: Path) -> None:
    work = finished / "work"
    files = [path for form in CONTROL for path in work.glob(form) if path.is_file()]
    assert len(files) >= len(CONTROL)
    assert {mode(path) for path in files} == {0o600}
    folders = [work, *(path for path in work.rglob("*") if path.is_dir() and not path.is_symlink())]
    # A folder takes the bit of its group from the folder that it is made in.
    assert {mode(path) & 0o777 for path in folders} == {0o700}


@pytest.mark.parametrize("module", ["retry", "cancel", "verify"])
def test_other_commands_write_no_open_file_either(unfinished: Path, module: str) -> None:
    (node_of(unfinished) / "failure.json").write_text('{"code": 70, "reasons": []}')
    before = os.umask(0o002)
    try:
        run_command(f"work={unfinished}", module=module)
    finally:
        os.umask(before)
    new = [path for path in unfinished.rglob("*") if path.name not in ("failure.json", "latest")]
    assert not [path for path in new if not path.is_symlink() and mode(path) & 0o022]


def run_module(module: str, node: Path) -> CommandResult:
    """A job by hand: the worker or the gate of the newest round."""
    return run_command(str(node), "0" if module == "worker" else "1", module=module)


@pytest.mark.parametrize("name", ["config.json", "rounds/0001.json"])
@pytest.mark.parametrize("bits", [0o020, 0o002])
def test_what_others_may_write_is_shown_and_not_run_and_the_fix_works(
    finished: Path, unfinished: Path, name: str, bits: int
) -> None:
    path = node_of(unfinished) / name
    path.chmod(0o600 | bits)
    ended = run_command(f"work={unfinished}", "format=json", module="status")
    assert (ended.code, json.loads(ended.out)["nodes"][0]["state"]) == (0, "partial"), ended
    assert launch(*arguments_for(finished, unfinished), "dry_run=true").code == 0
    for module in ("worker", "gate"):
        refused = run_module(module, node_of(unfinished))
        assert refused.code == 78, refused
        log = next((node_of(unfinished) / "logs").glob("worker-*.log"))
        assert f"chmod go-w {path}" in refused.out + refused.err + log.read_text() + reasons(path)
    refused = launch(*arguments_for(finished, unfinished))
    assert (refused.code, "Traceback" in refused.err) == (78, False), refused
    assert f"`chmod go-w {path}`" in refused.err
    path.chmod(mode(path) & ~0o022)
    assert launch(*arguments_for(finished, unfinished)).code == 0


def reasons(path: Path) -> str:
    """What attempts and gates wrote down of why they ended."""
    node = path.parent if path.name == "config.json" else path.parent.parent
    files = [*node.glob("failure.json"), *node.glob("attempts/*.json")]
    return "".join(file.read_text() for file in files)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")
@pytest.mark.parametrize("name", ["config.json", "rounds/0001.json"])
def test_what_belongs_to_another_user_is_not_run(
    finished: Path, unfinished: Path, name: str
) -> None:
    path = node_of(unfinished) / name
    os.chown(path, OTHER_UID, -1)
    refused = launch(*arguments_for(finished, unfinished))
    assert refused.code == 78, refused
    assert f"{path} decides what is run and belongs to another user" in refused.err
    assert run_module("gate", node_of(unfinished)).code == 78


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")
def test_no_launch_is_made_into_the_run_of_another_user(finished: Path, unfinished: Path) -> None:
    before = (unfinished / "run.json").read_bytes()
    os.chown(unfinished / "run.json", OTHER_UID, -1)
    refused = launch(*arguments_for(finished, unfinished))
    assert (refused.code, "of another user" in refused.err) == (73, True), refused
    assert (unfinished / "run.json").read_bytes() == before
    assert run_command(f"work={unfinished}", module="status").code == 0


def test_a_launcher_that_is_edited_changes_nothing_of_a_round_that_was_submitted(
    finished: Path, unfinished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster is a few commands that write down what they are given."""
    commands, asked = tmp_path / "commands", tmp_path / "asked"
    commands.mkdir()
    for name, body in {
        "scontrol": 'echo "Slurmctld(primary) at here is UP"',
        "squeue": "true",
        "sacct": "exit 1",
        "sbatch": f'printf "%s\\n" "$@" >> {asked}; echo "Submitted batch job 41"',
    }.items():
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_CONF", raising=False)
    launcher, work = tmp_path / "mine.toml", unfinished
    text = f'backend = "slurm"\nsetup = ["echo of-the-launch"]\n[python]\nmain = "{sys.executable}"'
    launcher.write_text(text + "\n")
    arguments = [
        "stage=all",
        f"recipe={finished}/recipe.toml",
        f"launcher={launcher}",
        f"work={work}",
    ]
    submitted = launch(*arguments)
    assert submitted.code == 0, submitted
    node = node_of(work)
    round_before = (node / "rounds" / "0002.json").read_bytes()
    asked.unlink()
    launcher.write_text(text.replace("of-the-launch", "edited-since") + "\n")
    # Its workers left nothing, as if their nodes were lost: the gate submits another round.
    ended = run_command(str(node), "2", module="gate")
    assert (ended.code, "Traceback" in ended.err) == (0, False), ended
    assert (node / "rounds" / "0002.json").read_bytes() == round_before
    assert "echo of-the-launch" in asked.read_text()
    assert "edited-since" not in asked.read_text() + (node / "rounds" / "0003.json").read_text()
