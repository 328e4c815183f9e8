"""The commands: their names, a line about each, and how one is run.

The standard library alone and little of that: `hala` imports this before it knows which command is
meant, and must cost nothing beside it.
"""

import sys
from collections.abc import Mapping, Sequence

#: Arguments that ask for help.
HELP = ("--help", "-h", "help")

COMMANDS: Mapping[str, str] = {
    "launch": "run a recipe, or resume it; --help lists every argument",
    "new": "write a recipe for a pair of languages",
    "fetch": "fetch models and data of a recipe, for jobs without a network",
    "inspect": "show what data holds, and what prepare would reject and why",
    "doctor": "check what would go wrong on this cluster",
    "rehearsal": "show what a run with rehearse=true found, as a page",
    "status": "show how far a run is",
    "logs": "show the log of what failed",
    "cancel": "cancel the jobs of a run",
    "retry": "run failed nodes again",
    "ratings": "let people rate outputs blindly, and take the ratings back",
    "publish": "write a result as a folder for the hub, with its card",
    "verify": "check that everything finished is still intact",
    "clean": "show what may go from a run, and remove it",
    "archive": "pack what a finished run should leave for years",
    "completion": "print the completion script for bash or zsh",
}
#: What `-m` of Python takes for a command.
MODULE = "hala_hpc.{}"


def format_command_list(before: str) -> str:
    """A line for each command; `before` is what is typed in front of its name."""
    width = max(map(len, COMMANDS))
    return "\n".join(f"{before}{name:<{width}} {text}" for name, text in COMMANDS.items())


def run_command_module(name: str, arguments: Sequence[str]) -> None:
    """Run a command as `python -m hala_hpc.<name>` does, and leave with its exit code."""
    import runpy

    sys.argv = [name, *arguments]
    runpy.run_module(MODULE.format(name), run_name="__main__", alter_sys=True)


def describe_unknown_command(name: str) -> str:
    """The error for a first argument that is no command."""
    from hala_hpc.core.errors import suggest_name

    if "=" in name:
        return f"{name!r} is no command: write the command first, as in `hala launch {name}`"
    return f"unknown command {name!r}: {suggest_name(name, list(COMMANDS), 'commands')}"
