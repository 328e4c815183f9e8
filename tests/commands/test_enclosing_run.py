"""Within a work folder the commands about a run need no `work=`, and print which one it is."""

import os
import shutil
from pathlib import Path

import pytest
from command_line import launch, one_row_recipe, run_command
from hala_script import hala

LOOKING = (
    ("status", ()),
    ("logs", ()),
    ("verify", ()),
    ("retry", ("dry_run=true",)),
    ("cancel", ("dry_run=true",)),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one node that is done."""
    folder = tmp_path_factory.mktemp("finished")
    work = folder / "my work"
    assert launch("stage=all", one_row_recipe(folder), f"work={work}").code == 0
    return work


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(finished, tmp_path / "my work", symlinks=True)


def node_folder(work: Path) -> Path:
    """The folder of its node."""
    return (work / "latest" / "corpus").resolve()


@pytest.mark.parametrize(("name", "arguments"), LOOKING)
def test_the_folder_of_the_command_is_the_run_that_is_meant(
    finished: Path, name: str, arguments: tuple[str, ...]
) -> None:
    here = hala(name, *arguments, cwd=finished)
    message = f"work '{finished}' (the folder of this command)\n"
    assert (here.code, here.err) == (0, message), here
    named = hala(name, f"work={finished}", *arguments)
    assert here.out == named.out


@pytest.mark.parametrize("inside", ["latest", "latest/corpus", "latest/corpus/logs", "cache"])
def test_a_folder_of_the_run_belongs_to_it(finished: Path, inside: str) -> None:
    folder = finished / inside
    folder.mkdir(exist_ok=True)
    ended = hala("status", "format=json", cwd=folder)
    place = folder.resolve().relative_to(finished)
    assert (ended.code, ended.err) == (0, f"work '{finished}' (around {place})\n"), ended
    assert ended == run_command("format=json", module="status", cwd=folder)


def test_what_the_command_names_takes_precedence(finished: Path, tmp_path: Path) -> None:
    ended = hala("status", f"work={tmp_path / 'other'}", cwd=finished)
    assert (ended.code, "other holds no run" in ended.err) == (66, True), ended
    ended = hala("status", "recipe=demo", cwd=finished)
    assert str(finished / "runs" / "demo") not in ended.err
    assert "corpus" not in ended.out


def test_a_clone_inside_a_work_folder_is_no_part_of_it(run: Path) -> None:
    clone = run / "clone" / "deep"
    clone.mkdir(parents=True)
    ended = hala("status", cwd=clone)
    assert ended.code == 66, ended
    assert ended.err.startswith("work runs/demo (")


def test_a_run_file_of_another_program_makes_no_work_folder(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"arguments": {}}')
    ended = hala("status", cwd=tmp_path)
    assert ended.err.startswith("work runs/demo ("), ended


def test_a_damaged_run_is_reported_and_not_passed_over(run: Path) -> None:
    (run / "run.json").write_text("{")
    ended = hala("status", cwd=node_folder(run))
    assert ended.code == 65, ended
    assert ended.err.startswith(f"work '{run}' (around corpus-")
    assert "run.json" in ended.err.splitlines()[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.parametrize("given", [".", "run.json"])
def test_the_run_of_another_user_is_reported_as_his_and_is_not_changed(
    run: Path, given: str
) -> None:
    os.chown(run / given, 54321, -1)
    ended = hala("status", cwd=node_folder(run))
    assert ended.code == 0, ended
    assert ended.err.partition("\n")[0].endswith("; it belongs to user 54321)")
    for name, arguments in (("cancel", ()), ("retry", ()), ("verify", ("repair=true",))):
        ended = hala(name, *arguments, cwd=node_folder(run))
        assert (ended.code, ended.out) == (64, ""), ended
        assert "belongs to user 54321: name it with work=" in ended.err
