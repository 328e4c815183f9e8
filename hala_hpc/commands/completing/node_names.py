"""Names of nodes for completion, in a tenth of a second: nothing here imports pydantic."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hala_hpc.commands.defaults import resolve_defaults
from hala_hpc.commands.enclosing_run import LINKS, find_enclosing_run
from hala_hpc.core.errors import UserError
from hala_hpc.core.paths import find_toml
from hala_hpc.core.recipe_file import read_recipe

#: Commands whose nodes are those of a recipe; the others look at a run.
RECIPE_COMMANDS = ("launch", "fetch", "doctor")
#: A name that a recipe may have, and no shell takes for anything else.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}")


def list_node_names(command: str, arguments: Sequence[str]) -> dict[str, str]:
    """Nodes that a line may name and their stages; "" for one whose stage is not known.

    Nothing where the line names what is not there: completion tells of no mistakes.
    """
    overrides = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    try:
        if command not in RECIPE_COMMANDS and (names := list_run_nodes(overrides)):
            return dict.fromkeys(names, "")
        tables = read_recipe(find_toml("recipe", resolve_defaults(overrides).recipe))
    except (UserError, OSError):
        return {}
    nodes = {name: table for name, table in tables.items() if isinstance(table, dict)}
    return {name: find_stage_name(nodes, name) for name in nodes if SAFE_NAME.fullmatch(name)}


def list_run_nodes(overrides: Mapping[str, str]) -> list[str]:
    """The nodes of the run that a line looks at, by the links that its launch made."""
    run = None if overrides.get("work") or overrides.get("recipe") else find_enclosing_run()
    work = run.work if run else Path(resolve_defaults(overrides).work).expanduser()
    links = work / LINKS
    if not links.is_dir():
        return []
    return sorted(path.name for path in links.iterdir() if SAFE_NAME.fullmatch(path.name))


def find_stage_name(nodes: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """The stage of a node as `core.recipe` finds it: its own, that of the node it is like, or the
    one of its name. "" for a stage in a file, of which no more is known here.
    """
    for _ in nodes:
        table = nodes.get(name, {})
        if "stage" in table or "like" not in table:
            stage = str(table.get("stage", name))
            return stage if SAFE_NAME.fullmatch(stage) else ""
        name = str(table["like"])
    return ""
