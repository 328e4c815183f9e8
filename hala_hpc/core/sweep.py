"""Sweeps: a list for a setting that takes one value makes a node for each value."""

import re
from dataclasses import replace
from typing import Any

from hala_hpc.core.node import Draft
from hala_hpc.core.overrides import accepts_list
from hala_hpc.core.settings import find_reference, rename_references, strings_in
from hala_hpc.core.stage import Stage


def expand_sweeps(nodes: list[Draft]) -> list[Draft]:
    """Replace each swept node, and every node that depends on it, by one for each value.

    `merge` with `t = [0.3, 0.5]` becomes `merge-t0.3` and `merge-t0.5`; an `evaluate` that takes
    `@merge` becomes `evaluate-t0.3` and `evaluate-t0.5`.
    """
    while True:
        swept = next((s for node in nodes if (s := swept_setting(node))), None)
        if swept is None:
            return nodes
        nodes = expand(nodes, *swept)


def swept_setting(node: Draft) -> tuple[str, str] | None:
    """Node and setting of a list that replaces a single value, if there is one."""
    for setting, value in node.raw.items():
        field = node.stage.Settings.model_fields.get(setting)
        if field is None or not isinstance(value, list) or len(value) == 0:
            continue
        if not accepts_list(field.annotation) and not has_own_reader(node.stage, setting):
            return node.name, setting
    return None


def has_own_reader(stage: type[Stage[Any]], setting: str) -> bool:
    """Whether the stage itself reads lists for a setting whose type does not show it."""
    return "list" in str(stage.Settings.model_fields[setting].annotation)


def expand(nodes: list[Draft], swept: str, setting: str) -> list[Draft]:
    """Expand one sweep: copy the swept node and all nodes that depend on it."""
    touched = dependants(nodes, swept)
    values = next(node.raw[setting] for node in nodes if node.name == swept)
    expanded: list[Draft] = []
    for node in nodes:
        if node.name not in touched:
            expanded.append(node)
            continue
        for value in values:
            tag = "-" + re.sub(r"[^A-Za-z0-9._-]+", "_", f"{setting}{value}")
            names = {old: f"{old}{tag}" for old in touched}
            copy = rename_in(node.stage, node.raw, names)
            if node.name == swept:
                copy[setting] = value
            expanded.append(replace(node, name=names[node.name], raw=copy))
    return expanded


def rename_in(
    stage: type[Stage[Any]], raw: dict[str, Any], names: dict[str, str]
) -> dict[str, Any]:
    """Copy a node's table with its references renamed."""
    return {
        key: rename_references(value, names) if is_reference(stage, key) else value
        for key, value in raw.items()
    }


def is_reference(stage: type[Stage[Any]], setting: str) -> bool:
    """Whether a setting names an input."""
    field = stage.Settings.model_fields.get(setting)
    return field is not None and find_reference(field.annotation, field.metadata) is not None


def dependants(nodes: list[Draft], start: str) -> set[str]:
    """The node and all nodes that depend on it, directly or not."""
    touched = {start}
    while True:
        more = {
            node.name
            for node in nodes
            for key, value in node.raw.items()
            if is_reference(node.stage, key)
            for text in strings_in(value)
            if text.startswith("@") and text[1:].partition("/")[0] in touched
        }
        if more <= touched:
            return touched
        touched |= more
