"""A node for the rows that another node rejected, in a recipe of its own."""

import json
import re
import shlex
from pathlib import Path

from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.core.errors import NO_INPUT, OK, UserError
from hala_hpc.core.files import write_text
from hala_hpc.core.paths import read_toml
from hala_hpc.core.run import Run, RunNode, format_launch_command
from hala_hpc.core.stage_registry import find_stage

#: A key of TOML that needs no quotes.
BARE = re.compile(r"[A-Za-z0-9_-]+")
#: A stage of a recipe that is a file.
STAGE_FILE = re.compile(
    r"""(?P<key>\bstage\s*=\s*)(?P<quote>["'])(?P<path>[^"'\n]+\.py)(?P=quote)"""
)
#: Not taken over from the node that rejected them: what comes again may be rejected again.
OWN_SETTINGS = ("corpus", "max_rejected_fraction")


def retry_rejected(run: Run, node_name: str, dry_run: bool) -> int:
    """Write the recipe and tell the line, or only tell what would be written.

    Raises UserError for a node without rejected rows.
    """
    if not node_name:
        raise UserError("name the node whose rejected rows are meant: node=...")
    node = run.find_node(node_name)
    rows = rejected_rows(node)
    recipe = Path(run.recipe)
    tables = read_toml(recipe)
    if node.name not in tables:
        raise UserError(
            f"node={node.name}: {recipe} has no table of this name (a sweep made it?): "
            f'write a node with corpus = "@{node.name}/rejected" yourself'
        )
    name = free_name(f"{node.name}-again", list(tables))
    target, addition = run.work / "recipes" / f"{name}.toml", format_node_table(name, node.name)
    command = format_launch_command(make_retry_overrides(run, node, name, target))
    print(f"{node.name}: {rows} rejected rows become the corpus of a new node, {name}")
    print(f"  {target} is {recipe} and:\n")
    print("\n".join(f"    {text}" for text in addition.splitlines()))
    if not dry_run:
        text = make_stage_paths_absolute(recipe.read_text(encoding="utf-8"), recipe.parent)
        write_text(target, f"{text.rstrip()}\n\n{addition}")
        parse_command_line(shlex.split(command)[3:])
    print(
        f"\nthen give the line, with a word more that lets them succeed, e.g. {name}.model=...:\n"
        f"{command}\nwho takes @{node.name} may take @{name} beside it, where it takes several"
    )
    if dry_run:
        print("nothing was written: this was a dry run")
    return OK


def make_stage_paths_absolute(text: str, folder: Path) -> str:
    """A recipe of this folder as it must read in another one: with whole paths of stage files."""

    def make_absolute(found: re.Match[str]) -> str:
        path = (folder / Path(found["path"]).expanduser()).absolute()
        return found["key"] + json.dumps(str(path), ensure_ascii=False)

    return STAGE_FILE.sub(make_absolute, text)


def rejected_rows(node: RunNode) -> int:
    """How many rows a node rejected. Raises UserError where they cannot be taken as a corpus."""
    config, summary = node.artifact.config(), node.artifact.summary()
    if config and "rejected" not in find_stage(config.stage, config.stage_source).extra_outputs:
        raise UserError(f"node={node.name}: {node.stage} keeps no rejected rows for other nodes")
    if summary is None:
        raise UserError(
            f"node={node.name} is not done: its rejected rows are a corpus when it is; where "
            "there are too many, raise its max_rejected_fraction and launch again",
            NO_INPUT,
        )
    if not summary.rows_rejected:
        raise UserError(f"node={node.name} has rejected no row", NO_INPUT)
    return summary.rows_rejected


def free_name(name: str, taken: list[str]) -> str:
    """A name that no node of the recipe has."""
    return next(n for n in (name, *(f"{name}{i}" for i in range(2, 1000))) if n not in taken)


def format_node_table(name: str, node: str) -> str:
    """The table of the new node."""
    key = name if BARE.fullmatch(name) else json.dumps(name)
    return (
        f"# The rows that {node} rejected, once more.\n[{key}]\n"
        f'like = "{node}"\ncorpus = "@{node}/rejected"\nmax_rejected_fraction = 1\n'
    )


def make_retry_overrides(run: Run, node: RunNode, name: str, recipe: Path) -> dict[str, str]:
    """The words of the run for the new node: those for the old one are for it, too."""
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
