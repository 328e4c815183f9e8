"""A recipe: the nodes of a pipeline, their settings and what each takes from which."""

import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from hala_hpc.core.errors import CONFIG, USAGE, UserError, closest
from hala_hpc.core.launcher import Launcher, merge
from hala_hpc.core.node import Draft, Node
from hala_hpc.core.overrides import place_word
from hala_hpc.core.resources import Resources
from hala_hpc.core.stage_registry import FoundStage
from hala_hpc.core.sweep import expand_sweeps

NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}")
StageFinder = Callable[[str], FoundStage]


def build_nodes(
    tables: dict[str, Any],
    words: dict[str, str],
    launcher: Launcher,
    find: StageFinder,
    mistakes: list[str],
) -> dict[str, Node]:
    """Read all nodes of a recipe in an order in which inputs come first.

    Raises one UserError with every mistake: those found before, names, types, references, cycles.
    """
    drafts = read_drafts(tables, launcher, find, mistakes)
    check_launcher_names(launcher, mistakes)
    lay_words(drafts, words, mistakes)
    nodes: dict[str, Node] = {}
    for draft in expand_sweeps(list(drafts.values())):
        node = check_settings(draft, mistakes)
        if node is not None:
            nodes[node.name] = node
    if mistakes:
        raise UserError(mistakes)
    check_references(nodes, mistakes)
    if mistakes:
        raise UserError(mistakes, CONFIG)
    return in_order(nodes)


def read_drafts(
    tables: dict[str, Any], launcher: Launcher, find: StageFinder, mistakes: list[str]
) -> dict[str, Draft]:
    """Tables to drafts: `like` copied, stage found, the launcher's resources laid over."""
    drafts: dict[str, Draft] = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not NODE_NAME.fullmatch(name):
            mistakes.append(
                f"{name!r} in the recipe is not a node: write a table [name] with "
                "letters, digits, dots, dashes and underscores"
            )
            continue
        try:
            raw = inherit(tables, name)
            found = find(stage_word(raw, name))
        except UserError as error:
            mistakes += [f"node {name!r}: {line}" for line in error.mistakes]
            continue
        raw.pop("stage", None)
        stage = found.stage
        default = stage.Settings.model_fields["resources"].default
        resources = merge(default.model_dump(), dict(raw.get("resources", {})))
        raw["resources"] = merge(resources, launcher.resources_of(name, stage.name))
        drafts[name] = Draft(name, stage, raw, name, found.source)
    mistakes += shared_names(drafts)
    return drafts


def stage_word(table: dict[str, Any], name: str) -> str:
    """The stage that the table of a node names; without one, the name of the node."""
    return str(table.get("stage", name))


def shared_names(drafts: dict[str, Draft]) -> list[str]:
    """A line for each stage of a name that another stage of the recipe has, too."""
    mistakes, first = [], dict[str, Draft]()
    for draft in drafts.values():
        other = first.setdefault(draft.stage.name, draft)
        if other.stage is not draft.stage:
            mistakes.append(
                f"node {draft.name!r}: its stage bears the name {draft.stage.name!r}, as another "
                f"one does, that of node {other.name!r}: give one of them another name"
            )
    return mistakes


def inherit(tables: dict[str, Any], name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """The table of a node laid over that of the node it is `like`."""
    table = dict(tables[name])
    other = table.pop("like", None)
    if other is None:
        return table
    if other in (*seen, name) or not isinstance(tables.get(other), dict):
        raise UserError(f"like = {other!r}: {closest(str(other), list(tables), 'nodes')}", CONFIG)
    base = inherit(tables, other, (*seen, name))
    base.setdefault("stage", other)
    return merge(base, table)


def lay_words(drafts: dict[str, Draft], words: dict[str, str], mistakes: list[str]) -> None:
    """Lay `node.setting=value` and `stage.setting=value` over the drafts."""
    stages = {draft.stage.name for draft in drafts.values()}
    for key, text in words.items():
        named = [n for n in (*drafts, *stages) if key.startswith(f"{n}.")]
        if not named:
            hint = closest(key.partition(".")[0], [*drafts, *stages], "nodes")
            mistakes.append(f"unknown word {key}={text}: {hint}")
            continue
        target = max(named, key=len)
        path = key[len(target) + 1 :]
        chosen = (
            [drafts[target]]
            if target in drafts
            else [draft for draft in drafts.values() if draft.stage.name == target]
        )
        try:
            for draft in chosen:
                place_word(draft.stage.Settings, path, text, draft.raw)
        except UserError as error:
            mistakes += [f"{key}={text}: {line}" for line in error.mistakes]


def check_launcher_names(launcher: Launcher, mistakes: list[str]) -> None:
    """Resources of a launcher must have valid names, whether or not a node uses them."""
    layers = {"resources": launcher.resources, "gate": launcher.gate}
    layers |= {f"stage.{name}": over.resources for name, over in launcher.stage.items()}
    layers |= {f"node.{name}": over.resources for name, over in launcher.node.items()}
    for where, layer in layers.items():
        for name in layer:
            if name not in Resources.model_fields:
                hint = closest(name, list(Resources.model_fields), "resources")
                mistakes.append(f"launcher {launcher.name}, [{where}]: unknown {name!r}: {hint}")


def check_settings(draft: Draft, mistakes: list[str]) -> Node | None:
    """Validate the table of a node; each mistake becomes a line."""
    try:
        settings = draft.stage.Settings.model_validate(draft.raw)
    except ValidationError as error:
        mistakes += [describe(draft, item) for item in error.errors()]
        return None
    return Node(draft.name, draft.stage, settings, draft.written, draft.source)


def describe(draft: Draft, error: Any) -> str:
    """One line for one mistake that pydantic found."""
    path = ".".join(str(part) for part in error["loc"])
    word = f"{draft.name}.{path}" if path else draft.name
    if error["type"] == "extra_forbidden":
        hint = closest(str(error["loc"][-1]), list(draft.stage.Settings.model_fields), "settings")
        return f"unknown setting {word}={error['input']!r}: {hint}"
    if error["type"] == "missing":
        return f"{word} is not given, and {draft.stage.name} needs it: add {word}=..."
    return f"{word}={error['input']!r}: {error['msg'].removeprefix('Value error, ')}"


def check_references(nodes: dict[str, Node], mistakes: list[str]) -> None:
    """Every `@node` must exist and make the right kind of product."""
    for node in nodes.values():
        for setting, value, reference in node.settings.references():
            if not value.startswith("@"):
                continue
            target, slash, name = value[1:].partition("/")
            word = f"{node.name}.{setting}={value}"
            if target not in nodes:
                mistakes.append(
                    f"{word}: there is no node {target!r}; {closest(target, list(nodes), 'nodes')}"
                )
                continue
            made = nodes[target].stage.produces
            if made not in reference.kinds:
                mistakes.append(
                    f"{word}: {target} makes {made}, but {setting} takes "
                    f"{' or '.join(reference.kinds)}"
                )
            elif slash and made != "files" and name not in nodes[target].stage.byproducts:
                good = [f"@{target}", *(f"@{target}/{n}" for n in nodes[target].stage.byproducts)]
                mistakes.append(f"{word}: {target} makes one {made}; write {' or '.join(good)}")


def in_order(nodes: dict[str, Node]) -> dict[str, Node]:
    """Nodes with inputs first, else in the order written; raises UserError for a cycle."""
    ordered: dict[str, Node] = {}
    left = dict(nodes)
    while left:
        ready = [n for n, node in left.items() if all(i in ordered for i in node.input_nodes())]
        if not ready:
            raise UserError(
                f"the nodes {find_cycle(left)} wait for each other: a recipe must not have a cycle",
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


def select(nodes: dict[str, Node], choice: str) -> list[str]:
    """Names meant by `stage=`: nodes, stages, or all; several with commas."""
    if choice == "all":
        return list(nodes)
    chosen: list[str] = []
    mistakes = []
    stages = {node.stage.name for node in nodes.values()}
    for word in choice.split(","):
        named = [n for n, node in nodes.items() if node.is_meant_by(word)]
        named = [word] if word in nodes else named
        if not named:
            valid = sorted({*nodes, *stages, "all"})
            mistakes.append(f"unknown stage {word!r}: {closest(word, valid, 'nodes and stages')}")
        chosen += named
    if mistakes:
        raise UserError(mistakes, USAGE)
    return [name for name in nodes if name in chosen]


def with_inputs(nodes: dict[str, Node], chosen: list[str]) -> list[str]:
    """The chosen nodes and all they need, in order."""
    wanted = set(chosen)
    for name in reversed(list(nodes)):
        if name in wanted:
            wanted.update(nodes[name].input_nodes())
    return [name for name in nodes if name in wanted]
