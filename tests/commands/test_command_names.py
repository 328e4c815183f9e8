"""`hala <command>` is `python -m hala_hpc.<command>`, and `hala` alone lists the commands."""

import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from command_line import CommandResult, run_command
from hala_script import HALA, hala

from hala_hpc import __version__
from hala_hpc.commands.command_names import COMMANDS

DRY = ("stage=all", "recipe=demo", "launcher=local", "dry_run=true")


def names(listing: str, before: str) -> list[str]:
    """The commands of a listing, each line of which begins with what is typed."""
    return [line.removeprefix(before).split()[0] for line in listing.splitlines()]


def test_hala_alone_lists_every_command_with_a_line() -> None:
    alone = hala()
    assert (alone.code, names(alone.out, "hala ")) == (0, list(COMMANDS)), alone
    assert all(len(line.split()) > 3 for line in alone.out.splitlines())
    assert hala("--help") == hala("-h") == hala("help") == alone


def test_python_lists_the_same_as_it_is_typed_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hala_hpc"], capture_output=True, text=True, check=True
    )
    assert done.stdout == hala().out.replace("hala ", "python -m hala_hpc.")


def test_it_prints_its_version() -> None:
    assert hala("--version") == CommandResult(0, f"hala_hpc {__version__}\n", "")


def test_an_unknown_command_is_named_with_the_closest_one() -> None:
    assert hala("stauts") == CommandResult(
        64, "", "error: unknown command 'stauts': did you mean 'status'?\n"
    )
    assert "commands are: archive, cancel, " in hala("frobnicate").err


def test_arguments_without_a_command_are_answered_with_where_to_write_it() -> None:
    ended = hala("stage=all")
    assert (ended.code, ended.out) == (64, "")
    assert "`hala launch stage=all`" in ended.err


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("launch", DRY, 0),
        ("launch", ("stage=prepar", "recipe=demo"), 64),
        ("launch", ("stage=sft", "--help"), 0),
        ("fetch", ("--help",), 0),
        ("doctor", ("launcher=slrm",), 64),
        ("status", ("work=/nowhere",), 66),
        ("logs", ("wrk=x",), 64),
        ("verify", ("--version",), 0),
    ],
)
def test_a_command_is_the_one_of_python(name: str, arguments: tuple[str, ...], code: int) -> None:
    ended = hala(name, *arguments)
    assert ended.code == code, ended
    assert ended == run_command(*arguments, module=name)


def test_a_damaged_run_ends_with_the_code_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    ended = hala("status", f"work={tmp_path}")
    assert ended == run_command(f"work={tmp_path}", module="status")
    assert ended.code == 65


def modules_of(*arguments: str) -> set[str]:
    """The modules that Python imports for a command."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    lines = (line.split("|") for line in done.stderr.splitlines() if line.count("|") == 2)
    return {name.strip() for _, _, name in lines}


def test_hala_imports_what_python_does_and_no_more(tmp_path: Path) -> None:
    arguments = (*DRY, f"work={tmp_path}")
    for ours, theirs in (
        (("--help",), ("hala_hpc", "--help")),
        (("launch", *arguments), ("hala_hpc.launch", *arguments)),
    ):
        more = modules_of(str(HALA), *ours) - modules_of("-m", *theirs)
        assert more == {"hala_hpc.__main__"}
