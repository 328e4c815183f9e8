"""Write a recipe with a new node for the rows that another node rejected."""

import json
import re
import shlex
from pathlib import Path

from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.planning.recipe_text import make_recipe_paths_absolute
from hala_hpc.core.errors import NO_INPUT, OK, UserError
from hala_hpc.core.files import write_text
from hala_hpc.core.recipe_file import read_recipe
from hala_hpc.core.run import Run, RunNode, format_launch_command
from hala_hpc.core.stage_registry import find_stage

#: A TOML key that needs no quotes.
BARE = re.compile(r"[A-Za-z0-9_-]+")
#: Settings not copied from the rejecting node: repeated rows may be rejected again.
OWN_SETTINGS = ("corpus", "max_rejected_fraction")


def retry_rejected(run: Run, node_name: str, dry_run: bool) -> int:
    """Write the recipe and print the launch command; with dry_run only print both.

    Raises: UserError for a node without rejected rows.
    """
    if not node_name:
        raise UserError("node= is missing: name the node whose rejected rows to retry")
    node = run.find_node(node_name)
    rows = rejected_rows(node)
    recipe = Path(run.recipe)
    tables = read_recipe(recipe)
    if node.name not in tables:
        raise UserError(
            f"node={node.name}: {recipe} has no table of this name (is it from a sweep?); "
            f'write a node with corpus = "@{node.name}/rejected" yourself'
        )
    name = free_name(f"{node.name}-again", list(tables))
    target, addition = run.work / "recipes" / f"{name}.toml", format_node_table(name, node.name)
    command = format_launch_command(make_retry_overrides(run, node, name, target))
    print(f"{node.name}: {rows} rejected rows become the corpus of a new node, {name}")
    print(f"  {target} is {recipe} and:\n")
    print("\n".join(f"    {text}" for text in addition.splitlines()))
    if not dry_run:
        text = make_recipe_paths_absolute(recipe.read_text(encoding="utf-8"), recipe.parent)
        write_text(target, f"{text.rstrip()}\n\n{addition}")
        parse_command_line(shlex.split(command)[3:])
    print(
        f"\nthen run this command, with one more override that lets them succeed, e.g. "
        f"{name}.model=...:\n{command}\na node that takes several inputs and takes @{node.name} "
        f"may also take @{name}"
    )
    if dry_run:
        print("dry run: nothing was written")
    return OK


def rejected_rows(node: RunNode) -> int:
    """Count the rows that a node rejected. Raises: UserError if they cannot be used as a corpus."""
    config, summary = node.artifact.config(), node.artifact.summary()
    if config and "rejected" not in find_stage(config.stage, config.stage_source).extra_outputs:
        raise UserError(
            f"node={node.name}: {node.stage} does not write rejected rows for other nodes"
        )
    if summary is None:
        raise UserError(
            f"node={node.name} is not done: its rejected rows can be used once it is; if too many "
            "rows are rejected, raise its max_rejected_fraction and launch again",
            NO_INPUT,
        )
    if not summary.rows_rejected:
        raise UserError(f"node={node.name} rejected no rows", NO_INPUT)
    return summary.rows_rejected


def free_name(name: str, taken: list[str]) -> str:
    """A name that no node of the recipe has."""
    return next(n for n in (name, *(f"{name}{i}" for i in range(2, 1000))) if n not in taken)


def format_node_table(name: str, node: str) -> str:
    """Format the TOML table of the new node."""
    key = name if BARE.fullmatch(name) else json.dumps(name)
    return (
        f"# Rows that {node} rejected, processed again.\n[{key}]\n"
        f'like = "{node}"\ncorpus = "@{node}/rejected"\nmax_rejected_fraction = 1\n'
    )


def make_retry_overrides(run: Run, node: RunNode, name: str, recipe: Path) -> dict[str, str]:
    """Overrides of the run for the new node, which also gets those of the old one."""
    excluded = {f"{node.name}.{setting}" for setting in OWN_SETTINGS}
    start = f"{node.name}."
    copies = {
        f"{name}.{key.removeprefix(start)}": value
        for key, value in run.overrides.items()
        if key.startswith(start) and key not in excluded
    }
    if f"{node.stage}.max_rejected_fraction" in run.overrides:
        copies[f"{name}.max_rejected_fraction"] = "1"
    return {**run.overrides, **copies, "recipe": str(recipe), "stage": name}
