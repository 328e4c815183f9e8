"""Sweeps: a list where one value is expected makes a node for each value."""

import re
from typing import Any

from hala_hpc.core.settings import reference_of, rename_references, strings_in
from hala_hpc.core.stage import Stage
from hala_hpc.core.words import takes_list

RawNode = tuple[str, type[Stage[Any]], dict[str, Any]]


def expand_sweeps(nodes: list[RawNode]) -> list[RawNode]:
    """Replace each swept node, and every node that depends on it, by one for each value.

    `merge` with `t = [0.3, 0.5]` becomes `merge-t0.3` and `merge-t0.5`; an `evaluate` that takes
    `@merge` becomes `evaluate-t0.3` and `evaluate-t0.5`.
    """
    while True:
        swept = next((s for node in nodes if (s := swept_setting(node))), None)
        if swept is None:
            return nodes
        nodes = expand(nodes, *swept)


def swept_setting(node: RawNode) -> tuple[str, str] | None:
    """Node and setting of a list that stands for a single value, if there is one."""
    name, stage, raw = node
    for setting, value in raw.items():
        field = stage.Settings.model_fields.get(setting)
        if field is None or not isinstance(value, list) or len(value) == 0:
            continue
        if not takes_list(field.annotation) and not has_own_reader(stage, setting):
            return name, setting
    return None


def has_own_reader(stage: type[Stage[Any]], setting: str) -> bool:
    """Whether the stage itself reads lists for a setting whose type does not show it."""
    return "list" in str(stage.Settings.model_fields[setting].annotation)


def expand(nodes: list[RawNode], swept: str, setting: str) -> list[RawNode]:
    """One sweep: copies of the swept node and of all that depends on it."""
    touched = dependants(nodes, swept)
    values = next(raw[setting] for name, _, raw in nodes if name == swept)
    expanded: list[RawNode] = []
    for name, stage, raw in nodes:
        if name not in touched:
            expanded.append((name, stage, raw))
            continue
        for value in values:
            tag = "-" + re.sub(r"[^A-Za-z0-9._-]+", "_", f"{setting}{value}")
            names = {old: f"{old}{tag}" for old in touched}
            copy = rename_in(stage, raw, names)
            if name == swept:
                copy[setting] = value
            expanded.append((names[name], stage, copy))
    return expanded


def rename_in(
    stage: type[Stage[Any]], raw: dict[str, Any], names: dict[str, str]
) -> dict[str, Any]:
    """A copy of a node's table in which references follow the new names."""
    return {
        key: rename_references(value, names) if is_reference(stage, key) else value
        for key, value in raw.items()
    }


def is_reference(stage: type[Stage[Any]], setting: str) -> bool:
    """Whether a setting names an input."""
    field = stage.Settings.model_fields.get(setting)
    return field is not None and reference_of(field.annotation, field.metadata) is not None


def dependants(nodes: list[RawNode], start: str) -> set[str]:
    """The node and all that depend on it, directly or not."""
    touched = {start}
    while True:
        more = {
            name
            for name, stage, raw in nodes
            for key, value in raw.items()
            if is_reference(stage, key)
            for text in strings_in(value)
            if text.startswith("@") and text[1:].partition("/")[0] in touched
        }
        if more <= touched:
            return touched
        touched |= more
