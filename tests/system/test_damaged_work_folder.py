"""Every file of a work folder, damaged in every way: the same command repairs it or names a fix.

Each cell of a table damages one file of a copy of one finished folder and asks all commands. What
must be there at last is counted by pyarrow, json and hashlib alone.
"""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from command_line import CommandResult, command_without_root_rights, recipe, run_command
from in_one_process import run_commands
from slow_run import SMALL

from benchmarks.damages.actions import put, remove

ROWS = 12
UNITS = 3
#: Codes of the README.
CODES = {0, 64, 65, 66, 69, 70, 73, 75, 78}
ATTEMPT = "attempts/r0001-w00000-abcdef123456-0"
#: Of the node `corpus`, not what was set aside or has nearly its name.
FOLDER = re.compile("corpus-[0-9a-f]{12}")


class Place(NamedTuple):
    """A file or folder of a work folder."""

    path: str
    """`@` stands for the folder of the node."""
    is_open: bool = True
    """Whether the node is unfinished: no summary, no output, and its unit 1 is missing."""
    is_folder: bool = False


#: The damage after which the same command may end with one error whose fix works; others heal. What
#: cannot be read may be whole, and is never taken for absent.
MAY_FAIL = "unreadable"
PLACES = [
    Place("run.json"),
    Place("launch.lease"),
    Place("feed.json"),
    Place("latest", is_folder=True),
    Place("latest/corpus"),
    Place("cache", is_folder=True),
    Place("@/config.json"),
    Place("@/config.json", is_open=False),
    Place("@/summary.json", is_open=False),
    Place("@/failure.json"),
    Place("@/jobs.json"),
    Place("@/rounds/0001.json"),
    Place("@/rounds", is_folder=True),
    Place("@/done/00000.json"),
    Place("@/done/00001.json"),
    Place("@/done/00000.json", is_open=False),
    Place("@/done", is_folder=True),
    Place("@/units", is_folder=True),
    Place("@/units/00001", is_folder=True),
    Place("@/output", is_folder=True, is_open=False),
    Place(f"@/{ATTEMPT}.json"),
    Place(f"@/{ATTEMPT}-error-0.json"),
    Place("@/attempts/lease-00000.json"),
    Place("@/attempts/failures-0001.json"),
    Place("@/attempts", is_folder=True),
    Place("@/claims/00001.json"),
    Place("@/claims", is_folder=True),
    Place("@/shared/00001.json"),
    Place("@/shared", is_folder=True),
    Place("@/kept/00001", is_folder=True),
    Place("@/kept", is_folder=True),
    Place("@/progress/00000-0000.json"),
    Place("@/progress", is_folder=True),
    Place("@/logs/worker-00000-0000.log"),
    Place("@/logs", is_folder=True),
    Place("@", is_folder=True, is_open=False),
]


def cut(path: Path) -> None:
    data = path.read_bytes()
    put(data[: len(data) // 2])(path)


def add_keys(path: Path) -> None:
    try:
        value = {**json.loads(path.read_bytes()), "of_a_later_version": [1]}
    except (OSError, ValueError, TypeError):
        value = {"of_a_later_version": [1]}
    put(json.dumps(value).encode())(path)


def lose_keys(path: Path) -> None:
    try:
        keys = list(json.loads(path.read_bytes()).items())
    except (OSError, ValueError, AttributeError):
        keys = []
    put(json.dumps(dict(keys[:1])).encode())(path)


def make_folder(path: Path) -> None:
    remove(path)
    path.mkdir()


def link_to_nothing(path: Path) -> None:
    remove(path)
    path.symlink_to(path.parent / "nothing-is-here")


def close(path: Path) -> None:
    path.chmod(0)


def add_names_that_are_almost_right(path: Path) -> None:
    for name in (f"{path.name}.bak", f"{path.stem}x{path.suffix}", f"0x{path.suffix}", "7.json"):
        path.with_name(name).write_text("{}")


OF_FILES: dict[str, Callable[[Path], None]] = {
    "missing": remove,
    "empty": put(b""),
    "cut": cut,
    "a list": put(b"[]"),
    "no keys": put(b"{}"),
    "null": put(b"null"),
    "a number": put(b"3"),
    "more keys": add_keys,
    "fewer keys": lose_keys,
    "no text": put(b"\xff\xfe\x00"),
    "a folder": make_folder,
    "a link to nothing": link_to_nothing,
    "unreadable": close,
    "almost right names": add_names_that_are_almost_right,
}
OF_FOLDERS: dict[str, Callable[[Path], None]] = {
    "missing": remove,
    "a file": put(b"x"),
    "a link to nothing": link_to_nothing,
    "unreadable": close,
    "almost right names": add_names_that_are_almost_right,
}
#: Cells of the default run: one of each kind that was once a traceback, a loop, or a lost row.
QUICK = {
    ("@/summary.json", False, "empty"),
    ("@/done/00000.json", True, "a list"),
    ("@/done/00000.json", True, "fewer keys"),
    ("@/done", True, "almost right names"),
    ("@/config.json", False, "cut"),
    ("@/rounds/0001.json", True, "no text"),
    ("launch.lease", True, "null"),
    ("launch.lease", True, "a link to nothing"),
    ("latest", True, "a file"),
    ("latest", True, "unreadable"),
    ("@/summary.json", False, "unreadable"),
}


def cells() -> list[object]:
    """Place and damage of every cell; those that are not quick are long."""
    found: list[object] = []
    for place in PLACES:
        for damage in OF_FOLDERS if place.is_folder else OF_FILES:
            is_quick = (place.path, place.is_open, damage) in QUICK
            state = "open" if place.is_open else "done"
            found.append(
                pytest.param(
                    place,
                    damage,
                    id=f"{place.path}-{state}-{damage}".replace(" ", "_"),
                    marks=[] if is_quick else [pytest.mark.long],
                )
            )
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one node, `corpus`."""
    folder = tmp_path_factory.mktemp("finished")
    lines = [
        json.dumps({"instruction": f"Say the number {number}", "output": f"It is {number}."})
        for number in range(ROWS)
    ]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    text = f'[corpus]\nstage="prepare"\ndata="{folder}/rows.jsonl"\nunits={UNITS}\n{SMALL}\n'
    recipe(folder, text)
    done = run_command(*arguments_for(folder / "work", folder))
    assert done.code == 0, done
    return folder


def arguments_for(work: Path, folder: Path) -> list[str]:
    return ["stage=all", f"recipe={folder}/recipe.toml", f"work={work}", "launcher=local"]


def node(work: Path) -> Path:
    [folder] = [path for path in work.glob("corpus-*") if FOLDER.fullmatch(path.name)]
    return folder


def reopen(folder: Path) -> None:
    """Let the node be as if its gate and the last of its workers had been killed."""
    (folder / "summary.json").unlink()
    shutil.rmtree(folder / "output")
    (folder / "done" / "00001.json").unlink()
    shutil.rmtree(folder / "units" / "00001")


def fill(path: Path, folder: Path) -> None:
    """Put something sound in a place that a finished run leaves empty."""
    if path.exists() or path.is_symlink() or path.parent == folder.parent:
        return
    path.parent.mkdir(exist_ok=True)
    if path.suffix != ".json":
        path.mkdir()
    elif path.parent.name == "done":
        pass
    elif path.name == "failure.json":
        path.write_text('{"code": 70, "reasons": [{"text": "it broke"}]}')
    else:
        path.write_text("{}")


def rows_on_disk(work: Path) -> list[str]:
    """The texts of all rows of the output, in order."""
    import pyarrow.parquet as pq

    parts = sorted(node(work).glob("output/*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)


def require_whole(work: Path, finished: Path) -> None:
    """Every row is there, and the summary counts what is on the disk."""
    assert rows_on_disk(work) == rows_on_disk(finished / "work")
    output, summary = node(work) / "output", json.loads((node(work) / "summary.json").read_text())
    assert (summary["rows_in"], summary["rows_out"]) == (ROWS, ROWS)
    assert summary["sha256"] == {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in output.rglob("*")
        if path.is_file()
    }


def assert_reported_well(ended: CommandResult, path: Path) -> None:
    """No traceback, a code of the list, and what is wrong in one line each."""
    assert "Traceback" not in ended.out + ended.err, ended
    assert ended.code in CODES, ended
    if ended.code not in (0, 65, 66, 78):
        assert "error:" in ended.err, (path, ended)


def apply_fix(error: str) -> None:
    """Run the command that the error has in backticks."""
    commands = re.findall(r"`(chmod [^`]+)`", error)
    assert commands, error
    for one in commands:
        subprocess.run(["bash", "-c", one], check=True)


def run(module: str, damage: str, *arguments: str) -> CommandResult:
    """Run a command; file modes apply to it where that is the damage."""
    if damage == "unreadable":
        return command_without_root_rights(*arguments, module=module)
    return run_command(*arguments, module=module)


@pytest.mark.parametrize(("place", "damage"), cells())
def test_a_damaged_file_is_repaired_by_the_same_command_or_named_with_a_fix(
    finished: Path, tmp_path: Path, place: Place, damage: str
) -> None:
    work = tmp_path / "work"
    shutil.copytree(finished / "work", work, symlinks=True)
    folder = node(work)
    if place.is_open:
        reopen(folder)
    path = Path(str(work / place.path).replace("@", folder.name))
    fill(path, folder)
    if damage in ("cut", "unreadable") and (not path.is_file() and not path.is_dir()):
        pytest.skip("there is nothing to damage")
    if damage in ("cut", "unreadable") and path.is_symlink():
        pytest.skip("a link has neither content nor rights of its own")
    (OF_FOLDERS if place.is_folder else OF_FILES)[damage](path)
    lines = [[module, f"work={work}"] for module in ("status", "logs", "verify")]
    lines += [[module, f"work={work}", "dry_run=true"] for module in ("retry", "cancel")]
    lines += [["doctor", f"work={work}", f"recipe={finished}/recipe.toml"]]
    lines += [["launch", *arguments_for(work, finished), "dry_run=true"]]
    for one in run_commands(lines, damage == "unreadable"):
        assert_reported_well(one, path)
    ended = run("launch", damage, *arguments_for(work, finished))
    assert_reported_well(ended, path)
    if damage == MAY_FAIL and ended.code != 0:
        assert str(path) in ended.err, ended
        apply_fix(ended.err)
        ended = run("launch", damage, *arguments_for(work, finished))
    assert ended.code == 0, ended
    require_whole(work, finished)
    again, shown = run_commands(
        [["launch", *arguments_for(work, finished)], ["status", f"work={work}", "format=json"]]
    )
    assert (again.code, "nothing to submit" in again.out) == (0, True), again
    assert [one["state"] for one in json.loads(shown.out)["nodes"]] == ["done"], shown
