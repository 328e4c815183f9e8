"""The page of the reference about commands: what each does, and its arguments."""

import ast
from pathlib import Path

from reference_settings import MADE, escape_markdown

import hala_hpc
from hala_hpc.commands.command_line import LAUNCH_ARGUMENTS
from hala_hpc.commands.command_names import COMMANDS
from hala_hpc.commands.planning.template_arguments import TEMPLATE_ARGUMENTS

PACKAGE = Path(hala_hpc.__file__).parent


def command_page() -> str:
    """Every command with its arguments."""
    lines = [
        "# Commands",
        "",
        f"{MADE}`hala <command> key=value ...` is `python -m hala_hpc.<command> key=value ...`.",
        "Booleans are `true` or `false`. `--help` prints the arguments of a command. The",
        "codes with which a command ends are on the page [exit codes](exit-codes.md).",
        "",
    ]
    for name, line in COMMANDS.items():
        lines += [f"## {name}", "", f"{line[0].upper()}{line[1:]}.", "", *argument_items(name), ""]
    lines += [
        "## sbatch templates",
        "",
        "The templates in `slurm/` take these arguments, and settings of their stage:",
        "",
        *(f"- `{key}`: {escape_markdown(text)}" for key, text in TEMPLATE_ARGUMENTS.items()),
    ]
    return "\n".join(lines) + "\n"


def argument_items(name: str) -> list[str]:
    """What the module of a command says, and an item for each of its arguments."""
    path = PACKAGE / f"{name}.py"
    tree = ast.parse((path if path.exists() else PACKAGE / name / "__main__.py").read_text("utf-8"))
    about = (ast.get_docstring(tree) or "").partition("\n\n")[2]
    table = LAUNCH_ARGUMENTS if name == "launch" else read_arguments(name)
    items = [f"- `{key}`: {escape_markdown(text)}" for key, text in table.items()]
    if name == "launch":
        items.append("- `<node>.<setting>`: a setting of a node, or of all nodes of a stage")
    return [escape_markdown(about), *([""] if about and items else []), *items]


def read_arguments(name: str) -> dict[str, str]:
    """The table ARGUMENTS of a command; empty if its module has none."""
    import importlib

    try:
        module = importlib.import_module(f"hala_hpc.{name}.__main__")
    except ModuleNotFoundError:
        module = importlib.import_module(f"hala_hpc.{name}")
    return dict(getattr(module, "ARGUMENTS", {}))
