"""Run commands as a user does, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.common.rights import without_root_rights
from benchmarks.common.waiting import WAIT_S

STAGES = (
    "prepare",
    "quantize",
    "filter",
    "translate",
    "tokenize",
    "sft",
    "merge",
    "evaluate",
    "report",
)


class CommandResult(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def run_command(
    *arguments: str, module: str = "launch", cwd: Path | None = None, **env: str
) -> CommandResult:
    """Run `python -m hala_hpc.<module> arguments...` and wait for its end."""
    done = subprocess.run(
        [sys.executable, "-m", f"hala_hpc.{module}", *arguments],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def launch_without_root_rights(*arguments: str) -> CommandResult:
    """Run a launch to which file modes apply even if root runs the tests."""
    return command_without_root_rights(*arguments)


def command_without_root_rights(
    *arguments: str, module: str = "launch", **env: str
) -> CommandResult:
    """Run a command to which file modes apply even if root runs the tests."""
    done = subprocess.run(
        without_root_rights([sys.executable, "-m", f"hala_hpc.{module}", *arguments]),
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def launch(*arguments: str, cwd: Path | None = None, **env: str) -> CommandResult:
    """Run `python -m hala_hpc.launch arguments...`."""
    return run_command(*arguments, cwd=cwd, **env)


def recipe(folder: Path, text: str) -> str:
    """Write a recipe file with this text; return the override `recipe=...`."""
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return f"recipe={path}"


def one_row_recipe(folder: Path, units: int = 1) -> str:
    """Write a recipe of one node, `corpus`, that prepares one row; return its override."""
    (folder / "rows.jsonl").write_text('{"instruction": "Say 1", "output": "1"}\n')
    text = f'[corpus]\nstage="prepare"\ndata="{folder}/rows.jsonl"\nunits={units}\n'
    return recipe(folder, text)
