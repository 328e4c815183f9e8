"""A recipe: the nodes of a pipeline, their settings and their inputs."""

import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from hala_hpc.core.errors import CONFIG, USAGE, UserError, suggest_name
from hala_hpc.core.fan_in import gather_sweeps
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.node import Draft, Node
from hala_hpc.core.overrides import apply_override
from hala_hpc.core.recipe_file import merge_tables
from hala_hpc.core.resources import Resources
from hala_hpc.core.stage_registry import FoundStage
from hala_hpc.core.sweep import expand_sweeps

NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}")
StageFinder = Callable[[str], FoundStage]


def build_nodes(
    tables: dict[str, Any],
    overrides: dict[str, str],
    launcher: Launcher,
    find: StageFinder,
    mistakes: list[str],
) -> dict[str, Node]:
    """Build all nodes of a recipe, ordered with inputs first.

    Raises: UserError with every mistake: those found before, names, types, references, cycles.
    """
    drafts = read_drafts(tables, launcher, find, mistakes)
    check_launcher_names(launcher, mistakes)
    apply_overrides(drafts, overrides, mistakes)
    nodes: dict[str, Node] = {}
    for draft in gather_sweeps(expand_sweeps(list(drafts.values())), mistakes):
        node = check_settings(draft, mistakes)
        if node is not None:
            nodes[node.name] = node
    if mistakes:
        raise UserError(mistakes)
    check_references(nodes, mistakes)
    if mistakes:
        raise UserError(mistakes, CONFIG)
    return sort_nodes(nodes)


def read_drafts(
    tables: dict[str, Any], launcher: Launcher, find: StageFinder, mistakes: list[str]
) -> dict[str, Draft]:
    """Read tables as drafts: copy `like`, find the stage, merge the launcher's resources."""
    drafts: dict[str, Draft] = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not NODE_NAME.fullmatch(name):
            mistakes.append(
                f"{name!r} in the recipe is not a node: write a table [name] with "
                "letters, digits, dots, dashes and underscores"
            )
            continue
        try:
            raw = inherit_table(tables, name)
            found = find(read_stage_name(raw, name))
        except UserError as error:
            mistakes += [f"node {name!r}: {line}" for line in error.mistakes]
            continue
        raw.pop("stage", None)
        stage = found.stage
        default = stage.Settings.model_fields["resources"].default
        resources = merge_tables(default.model_dump(), dict(raw.get("resources", {})))
        raw["resources"] = merge_tables(resources, launcher.resources_of(name, stage.name))
        drafts[name] = Draft(name, stage, raw, name, found.source)
    mistakes += shared_names(drafts)
    return drafts


def read_stage_name(table: dict[str, Any], name: str) -> str:
    """The stage in the table of a node; by default the name of the node."""
    return str(table.get("stage", name))


def shared_names(drafts: dict[str, Draft]) -> list[str]:
    """A line for each stage whose name another stage of the recipe has, too."""
    mistakes, first = [], dict[str, Draft]()
    for draft in drafts.values():
        other = first.setdefault(draft.stage.name, draft)
        if other.stage is not draft.stage:
            mistakes.append(
                f"node {draft.name!r}: its stage has the name {draft.stage.name!r}, as the stage "
                f"of node {other.name!r} has: give one of them another name"
            )
    return mistakes


def inherit_table(
    tables: dict[str, Any], name: str, parents: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The table of a node merged over that of the node it is `like`."""
    table = dict(tables[name])
    other = table.pop("like", None)
    if other is None:
        return table
    if other in (*parents, name) or not isinstance(tables.get(other), dict):
        raise UserError(
            f"like = {other!r}: {suggest_name(str(other), list(tables), 'nodes')}", CONFIG
        )
    base = inherit_table(tables, other, (*parents, name))
    base.setdefault("stage", other)
    return merge_tables(base, table)


def apply_overrides(
    drafts: dict[str, Draft], overrides: dict[str, str], mistakes: list[str]
) -> None:
    """Apply `node.setting=value` and `stage.setting=value` to the drafts."""
    stages = {draft.stage.name for draft in drafts.values()}
    for key, text in overrides.items():
        matching = [n for n in (*drafts, *stages) if key.startswith(f"{n}.")]
        if not matching:
            hint = suggest_name(key.partition(".")[0], [*drafts, *stages], "nodes")
            mistakes.append(f"unknown override {key}={text}: {hint}")
            continue
        target = max(matching, key=len)
        path = key[len(target) + 1 :]
        chosen = (
            [drafts[target]]
            if target in drafts
            else [draft for draft in drafts.values() if draft.stage.name == target]
        )
        try:
            for draft in chosen:
                apply_override(draft.stage.Settings, path, text, draft.raw)
        except UserError as error:
            mistakes += [f"{key}={text}: {line}" for line in error.mistakes]


def check_launcher_names(launcher: Launcher, mistakes: list[str]) -> None:
    """Check the names of a launcher's resources, whether or not a node uses them."""
    layers = {"resources": launcher.resources, "gate": launcher.gate}
    layers |= {f"stage.{name}": over.resources for name, over in launcher.stage.items()}
    layers |= {f"node.{name}": over.resources for name, over in launcher.node.items()}
    for where, layer in layers.items():
        for name in layer:
            if name not in Resources.model_fields:
                hint = suggest_name(name, list(Resources.model_fields), "resources")
                mistakes.append(f"launcher {launcher.name}, [{where}]: unknown {name!r}: {hint}")


def check_settings(draft: Draft, mistakes: list[str]) -> Node | None:
    """Validate the table of a node; each mistake becomes a line."""
    try:
        settings = draft.stage.Settings.model_validate(draft.raw)
    except ValidationError as error:
        mistakes += [describe_setting_error(draft, item) for item in error.errors()]
        return None
    return Node(draft.name, draft.stage, settings, draft.written, draft.source)


def describe_setting_error(draft: Draft, error: Any) -> str:
    """Format one mistake that pydantic found as one line."""
    path = ".".join(str(part) for part in error["loc"])
    setting = f"{draft.name}.{path}" if path else draft.name
    if error["type"] == "extra_forbidden":
        hint = suggest_name(
            str(error["loc"][-1]), list(draft.stage.Settings.model_fields), "settings"
        )
        return f"unknown setting {setting}={error['input']!r}: {hint}"
    if error["type"] == "missing":
        return f"{setting} is not given, and {draft.stage.name} needs it: add {setting}=..."
    return f"{setting}={error['input']!r}: {error['msg'].removeprefix('Value error, ')}"


def check_references(nodes: dict[str, Node], mistakes: list[str]) -> None:
    """Check that every `@node` exists and makes the right kind of product."""
    for node in nodes.values():
        for setting, value, reference in node.settings.references():
            if not value.startswith("@"):
                continue
            target, slash, name = value[1:].partition("/")
            override = f"{node.name}.{setting}={value}"
            if target not in nodes:
                hint = suggest_name(target, list(nodes), "nodes")
                mistakes.append(f"{override}: there is no node {target!r}; {hint}")
                continue
            made = nodes[target].stage.produces
            beside = nodes[target].stage.outputs_beside(nodes[target].settings)
            if made not in reference.kinds:
                mistakes.append(
                    f"{override}: {target} makes {made}, but {setting} takes "
                    f"{' or '.join(reference.kinds)}"
                )
            elif slash and made != "files" and name not in beside:
                good = [f"@{target}", *(f"@{target}/{n}" for n in beside)]
                mistakes.append(f"{override}: {target} makes one {made}; write {' or '.join(good)}")


def sort_nodes(nodes: dict[str, Node]) -> dict[str, Node]:
    """Sort nodes with inputs first, else as written. Raises: UserError (CONFIG) for a cycle."""
    ordered: dict[str, Node] = {}
    left = dict(nodes)
    while left:
        ready = [n for n, node in left.items() if all(i in ordered for i in node.input_nodes())]
        if not ready:
            raise UserError(
                f"the nodes {find_cycle(left)} need each other: a recipe must not have a cycle",
                CONFIG,
            )
        for name in ready:
            ordered[name] = left.pop(name)
    return ordered


def find_cycle(left: dict[str, Node]) -> str:
    """A cycle among nodes that all wait, as `a -> b -> a`."""
    path = [next(iter(left))]
    while True:
        step = next(name for name in left[path[-1]].input_nodes() if name in left)
        if step in path:
            return " -> ".join([*path[path.index(step) :], step])
        path.append(step)


def select_nodes(nodes: dict[str, Node], choice: str) -> list[str]:
    """Names selected by `stage=`: nodes, stages, or all; several with commas."""
    if choice == "all":
        return list(nodes)
    chosen: list[str] = []
    mistakes = []
    stages = {node.stage.name for node in nodes.values()}
    for item in choice.split(","):
        matching = [n for n, node in nodes.items() if node.matches(item)]
        matching = [item] if item in nodes else matching
        if not matching:
            valid = sorted({*nodes, *stages, "all"})
            mistakes.append(
                f"unknown stage {item!r}: {suggest_name(item, valid, 'nodes and stages')}"
            )
        chosen += matching
    if mistakes:
        raise UserError(mistakes, USAGE)
    return [name for name in nodes if name in chosen]


def include_input_nodes(nodes: dict[str, Node], chosen: list[str]) -> list[str]:
    """The chosen nodes and all nodes that they need, in order."""
    wanted = set(chosen)
    for name in reversed(list(nodes)):
        if name in wanted:
            wanted.update(nodes[name].input_nodes())
    return [name for name in nodes if name in wanted]
