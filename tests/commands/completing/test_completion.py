"""`hala completion`: what bash and zsh offer is what the commands take."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from cpu_time import cpu_s
from hala_script import HALA, hala
from in_one_process import run_commands
from typing_shell import TypingShell

from benchmarks.common.waiting import WAIT_S
from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.command_names import COMMANDS
from hala_hpc.commands.completing.node_names import list_node_names
from hala_hpc.commands.completing.script import find_meanings
from hala_hpc.commands.completing.values import ARGUMENT_VALUES, ValueKind, find_values

#: Calls the function as bash does, and prints what it offers.
DRIVER = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
compopt() { options="$options $*"; }
_hala "$1"
printf '%s\\n' "options:$options" "${COMPREPLY[@]}"
"""
#: How a shell is started without the settings of its user, and what loads the script.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'source "{script}"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit; compinit -u -D; source "{script}"'),
}


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    return write_script("bash", tmp_path_factory.mktemp("bash"))


def write_script(shell: str, folder: Path) -> Path:
    ended = hala("completion", shell)
    assert (ended.code, ended.err) == (0, ""), ended
    path = folder / f"hala.{shell}"
    path.write_text(ended.out)
    return path


def offered(script: Path, *typed: str, cwd: Path = ROOT, program: object = HALA) -> list[str]:
    """What bash offers for the last of the arguments into which it splits a command."""
    done = subprocess.run(
        ["bash", "--norc", "-c", DRIVER, "driver", script, str(program), *typed],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
    )
    assert done.stderr == ""
    options, *candidates = done.stdout.splitlines()
    assert ("nospace" in options) == (bool(candidates) and candidates[0][-1:] in ("=", ".")), done
    return [candidate for candidate in candidates if candidate]


def test_the_first_argument_is_a_command(script: Path) -> None:
    assert offered(script, "") == [*COMMANDS, "--help", "--version"]
    assert offered(script, "sta") == ["status"]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "completion"])
def test_the_arguments_of_a_command_are_those_of_its_help(script: Path, command: str) -> None:
    found = offered(script, command, "", program="/no/such/hala")
    assert found == [*(f"{name}=" for name in find_meanings(command)), "--help"]


def test_an_argument_that_is_given_is_not_offered_again(script: Path) -> None:
    found = offered(script, "launch", "recipe", "=", "demo", "re")
    assert found == ["rehearse=", "render="]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_values_of_every_argument_are_known(command: str) -> None:
    assert set(find_meanings(command)) <= set(ARGUMENT_VALUES)


def test_values_that_are_offered_are_those_that_the_commands_take() -> None:
    lines, refused = [], []
    for command in COMMANDS:
        named = "work=/no/such/run" if "launcher" not in find_meanings(command) else "launcher=no"
        for argument in find_meanings(command):
            values = find_values(command, argument)
            if not isinstance(values, ValueKind):
                lines += [(command, f"{argument}={value}", named) for value in values]
                refused.append((command, f"{argument}=nonsense", named))
    for line, ended in zip(lines, run_commands(lines), strict=True):
        assert f"{line[1]}: write" not in ended.err, (line, ended)
    # Only looked at together with rejected=true.
    refused.remove(("retry", "failed=nonsense", "work=/no/such/run"))
    for line, ended in zip(refused, run_commands(refused), strict=True):
        assert f"{line[1]}: write" in ended.err, (line, ended)


#: The recipes of the paper's open questions.
QUESTIONS = [
    f"questions/{name}"
    for name in ("culture", "dialect", "domains", "merge-ratio", "quality-threshold")
]


def test_recipes_and_launchers_are_shipped_ones_or_files(script: Path, tmp_path: Path) -> None:
    (tmp_path / "demonstration.toml").write_text("")
    (tmp_path / "deep folder").mkdir()
    (tmp_path / "notes.txt").write_text("")
    assert offered(script, "launch", "recipe", "=", cwd=tmp_path) == [
        *("demo", "hala", *QUESTIONS, "demonstration.toml", "deep folder")
    ]
    assert offered(script, "fetch", "recipe", "=", "de", cwd=tmp_path) == [
        *("demo", "demonstration.toml", "deep folder")
    ]
    assert offered(script, "doctor", "launcher", "=", "loc", cwd=tmp_path) == ["local"]
    assert offered(script, "status", "work", "=", "", cwd=tmp_path) == ["deep folder"]


def test_nodes_are_those_of_the_recipe_of_the_line(script: Path) -> None:
    assert offered(script, "launch", "recipe", "=", "demo", "stage", "=", "mer") == ["merge"]
    several = offered(script, "launch", "recipe", "=", "demo", "stage", "=", "merge,sf")
    assert several == ["merge,sft-tokens", "merge,sft"]
    assert "all" in offered(script, "launch", "recipe", "=", "hala", "stage", "=")
    assert "merge-1.2b" in offered(script, "doctor", "stage", "=", "m", "recipe=hala", "stage=m")


@pytest.mark.parametrize("recipe", ["demo", "hala"])
def test_nodes_and_stages_are_those_that_a_launch_finds(recipe: str) -> None:
    nodes = parse_command_line(["stage=all", f"recipe={recipe}", "launcher=local"]).nodes
    found = list_node_names("launch", [f"recipe={recipe}"])
    # A sweep has the name that the recipe gives it: `stage=merge` takes all its nodes.
    assert found == {node.written: node.stage.name for node in nodes.values()}


def test_settings_of_a_node_are_those_of_its_stage(script: Path) -> None:
    assert "merge." in offered(script, "launch", "recipe", "=", "demo", "mer")
    assert offered(script, "launch", "recipe", "=", "hala", "merge-1.") == ["merge-1.2b."]
    assert "merge-1.2b.t=" in offered(script, "launch", "recipe", "=", "hala", "merge-1.2b.")
    assert offered(script, "launch", "recipe=demo", "translator.liger", "=") == ["true", "false"]


def test_nodes_of_a_run_are_those_of_its_work_folder(script: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    folder = work / "mine-0123456789ab" / "logs"
    folder.mkdir(parents=True)
    (work / "latest").mkdir()
    (work / "latest" / "mine").symlink_to(folder.parent)
    (work / "run.json").write_text("{}")
    assert offered(script, "logs", f"work={work}", "node", "=") == ["mine"]
    assert offered(script, "retry", "node", "=", "m", cwd=folder) == ["mine"]


def test_nothing_that_is_in_a_recipe_or_typed_is_run(script: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '["$(touch ran)"]\n[a]\nstage = "$(touch ran)"\n["x y"]\nlike = "x y"\n'
    )
    assert offered(script, "launch", "recipe=mine.toml", "stage", "=", cwd=tmp_path) == ["all", "a"]
    for typed in ("$(touch ran),", "`touch ran`,", "*"):
        offered(script, "launch", "recipe=mine.toml", "stage", "=", typed, cwd=tmp_path)
        offered(script, "launch", "recipe=mine.toml", f"{typed}.x", cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_what_is_not_there_offers_nothing(script: Path) -> None:
    assert offered(script, "launch", "recipe", "=", "nosuch", "stage", "=") == ["all"]
    assert offered(script, "nosuch", "") == []
    assert offered(script, "completion", "") == ["bash", "zsh"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_tabulator_completes_the_command_that_is_typed(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here: its completion is not tried")
    (tmp_path / "site.toml").write_text("")
    (tmp_path / "results").mkdir()
    command, load = SHELLS[shell]
    environment = {"PATH": f"{HALA.parent}:{os.environ['PATH']}"}
    with TypingShell(command, tmp_path, environment) as typing:
        typing.run(load.format(script=write_script(shell, tmp_path)))
        typing.complete("hala stat", "hala status")
        typing.complete("hala launch reci", "hala launch recipe=")
        typing.complete("hala launch recipe=de", "recipe=demo")
        typing.complete("hala launch launcher=si", "launcher=site.toml")
        typing.complete("hala status work=res", "work=results/")
        typing.complete("hala launch recipe=demo stage=merge,repo", "stage=merge,report")
        typing.complete("hala launch recipe=demo merge.resources.mem_g", "mem_gb=")


def test_the_script_has_no_mistake_that_shellcheck_finds(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not here")
    done = subprocess.run(
        ["shellcheck", "--shell=bash", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_an_unknown_shell_is_named_and_help_shows_how_to_load_it() -> None:
    ended = hala("completion", "zhs")
    assert (ended.code, ended.err) == (64, "error: completion zhs: did you mean 'zsh'?\n")
    assert "hala completion bash" in hala("completion", "--help").out
    assert hala("completion", "zsh").out.startswith("#compdef hala\n")


@pytest.mark.alone
def test_nodes_are_found_with_less_cpu_than_pydantic_takes_to_be_imported() -> None:
    seconds: list[tuple[float, float]] = []
    # In turns, and the minimum of several: what the machine does beside it only adds.
    while len(seconds) < 10:
        ours = cpu_s([str(HALA), "completion", "nodes", "launch", "recipe=hala"])
        seconds.append((ours, cpu_s([sys.executable, "-c", "import pydantic; pydantic.BaseModel"])))
        minimum, bound = map(min, zip(*seconds, strict=True))
        if minimum < bound and len(seconds) >= 3:
            break
    assert minimum < bound
