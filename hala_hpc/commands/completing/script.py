"""The script that completes `hala` in a shell: tables of candidates, and functions that read them.

The tables come from the sources of `--help`: commands, arguments, and the types of settings.
Recipes and launchers are those of the installation. The script asks for nodes when they are needed,
by `hala completion nodes`, as they follow from a recipe or a work folder.
"""

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from hala_hpc import __version__
from hala_hpc.commands.command_line import LAUNCH_ARGUMENTS
from hala_hpc.commands.command_names import COMMANDS, MODULE
from hala_hpc.commands.completing.values import ValueKind, Values, find_values, list_settings
from hala_hpc.core.paths import shipped_names
from hala_hpc.core.stage_registry import find_stage, stage_names

HERE = Path(__file__).parent
#: What a script begins with, by shell; zsh reads the name of the command in the first line.
SCRIPT_HEADS = {
    "bash": """\
# Completion of hala {version} in bash. To have it in every shell:
#   mkdir -p ~/.local/share/bash-completion/completions
#   hala completion bash > ~/.local/share/bash-completion/completions/hala
# or, without the package bash-completion, a line of ~/.bashrc: source <file with this text>
""",
    "zsh": """\
#compdef hala
# Completion of hala {version} in zsh. To have it in every shell, write it into a folder of fpath:
#   mkdir -p ~/.zfunc; hala completion zsh > ~/.zfunc/_hala
# with these lines in ~/.zshrc: fpath+=(~/.zfunc); autoload -Uz compinit; compinit
""",
}
SHELLS = tuple(SCRIPT_HEADS)


def format_script(shell: str) -> str:
    """The whole script for one of `SHELLS`."""
    files = ("candidates.sh", f"end.{shell}")
    code = [(HERE / name).read_text(encoding="utf-8") for name in files]
    return "\n".join([SCRIPT_HEADS[shell].format(version=__version__), *format_tables(), *code])


def format_tables() -> list[str]:
    """All candidates, as shell code."""
    arguments = {command: list(find_meanings(command)) for command in COMMANDS}
    values = {
        f"{command}.{argument}": format_values(find_values(command, argument))
        for command, names in arguments.items()
        for argument in names
    }
    settings = {name: dict(list_settings(find_stage(name).Settings)) for name in stage_names()}
    setting_values = {
        f"{stage}.{name.removesuffix('=')}": format_values(found)
        for stage, names in settings.items()
        for name, found in names.items()
    }
    begun = {
        command: [*(f"{name}=" for name in names), "--help"] for command, names in arguments.items()
    }
    first = {"''": [*COMMANDS, "--help", "--version"]}
    return [
        f'_hala_recipes="{" ".join(shipped_names("recipes"))}"\n'
        f'_hala_launchers="{" ".join(shipped_names("launchers"))}"\n',
        format_function("arguments", {**first, **begun, "completion": SHELLS}),
        format_function("argument_values", values),
        format_function("settings", settings),
        format_function("setting_values", setting_values),
    ]


def find_meanings(command: str) -> Mapping[str, str]:
    """The arguments of a command with what `--help` says of each; none if it has none."""
    if command == "launch":
        return LAUNCH_ARGUMENTS
    module = importlib.import_module(MODULE.format(command))
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{module.__name__}.__main__")
    found: Mapping[str, str] = getattr(module, "ARGUMENTS", {})
    return found


def format_values(values: Values) -> list[str]:
    """The row of a table for the values of an argument or a setting."""
    if isinstance(values, ValueKind):
        return [] if values is ValueKind.ANY else [values.value]
    return list(values)


def format_function(name: str, rows: Mapping[str, Iterable[str]]) -> str:
    """A shell function that sets `_hala_found` to the row of its argument; to nothing without."""
    texts = {key: " ".join(row) for key, row in rows.items()}
    cases = [f'        {key}) _hala_found="{text}" ;;' for key, text in texts.items() if text]
    return "\n".join(
        [f"_hala_{name}() {{", "    _hala_found=''", "    case $1 in", *cases, "    esac", "}", ""]
    )
