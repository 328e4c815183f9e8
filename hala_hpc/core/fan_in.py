"""Fan-in: `@merge-*` is every node that sweeps make of `merge`, as inputs of one node.

`@merge` follows a sweep: the node that names it is copied for each value. `@merge-*` gathers it:
`merged = "@merge-*"` in a table of models becomes `merged-t0.3 = "@merge-t0.3"` and
`merged-t0.5 = "@merge-t0.5"`. After that nothing knows of the pattern: fingerprints, states and
records are those of a recipe that names these nodes itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_origin

from hala_hpc.core.errors import suggest_name
from hala_hpc.core.node import Draft
from hala_hpc.core.overrides import accepts_list, strip_optional
from hala_hpc.core.settings import references_in

#: End of a reference to all nodes of a sweep.
SWEEP_PATTERN = "-*"


def gather_sweeps(drafts: Sequence[Draft], mistakes: list[str]) -> list[Draft]:
    """The nodes with each `@node-*` replaced by the nodes that it means; mistakes are added."""
    return [gather_inputs(draft, drafts, mistakes) for draft in drafts]


def gather_inputs(draft: Draft, drafts: Sequence[Draft], mistakes: list[str]) -> Draft:
    """One node with its `@node-*` replaced."""
    raw = dict(draft.raw)
    for setting in references_in(draft.stage.Settings):
        value = raw.get(setting)
        if not any(is_sweep_reference(one) for one in entries_of(value)):
            continue
        annotation = draft.stage.Settings.model_fields[setting].annotation
        given = f"{draft.name}.{setting}"
        if get_origin(strip_optional(annotation)) is dict:
            raw[setting] = gather_table(given, value, drafts, mistakes)
        elif accepts_list(annotation):
            listed = value if isinstance(value, list) else [value]
            raw[setting] = [
                name for one in listed for _, name in gather(given, one, drafts, mistakes)
            ]
        else:
            mistakes.append(
                f"{given}={value}: this setting takes one node; name one, or sweep it with a list"
            )
    return replace(draft, raw=raw)


def entries_of(value: Any) -> list[Any]:
    """The entries of a list or table, or the value alone."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def is_sweep_reference(value: Any) -> bool:
    """Whether a value is `@node-*`, or `@node-*/output`."""
    if not isinstance(value, str) or not value.startswith("@"):
        return False
    return value.partition("/")[0].endswith(SWEEP_PATTERN)


def gather_table(
    setting: str, value: Any, drafts: Sequence[Draft], mistakes: list[str]
) -> dict[str, Any]:
    """A table in which each entry of a sweep has a label of its own: `merged-t0.3`.

    Alone, as `models = "@merge-*"`, the nodes have their names as labels.
    """
    found: dict[str, Any] = {}
    for label, one in value.items() if isinstance(value, dict) else (("", value),):
        given = f"{setting}.{label}" if label else setting
        for suffix, name in gather(given, one, drafts, mistakes):
            key = f"{label}{suffix}" if label else name[1:].replace("/", "-")
            if key in found:
                mistakes.append(f"{given}={one}: two models would have the label {key}")
            found[key] = name
    return found


def gather(
    setting: str, value: Any, drafts: Sequence[Draft], mistakes: list[str]
) -> list[tuple[str, Any]]:
    """What a sweep adds to the name of each of its nodes, and the reference to it.

    A value that is no such reference is returned as it is.
    """
    if not is_sweep_reference(value):
        return [("", value)]
    pattern, slash, output = value[1:].partition("/")
    written = pattern.removesuffix(SWEEP_PATTERN)
    names = [draft.name for draft in drafts if draft.written == written]
    if not names:
        known = sorted({draft.written for draft in drafts})
        hint = suggest_name(written, known, "nodes")
        mistakes.append(f"{setting}={value}: there is no node {written!r}; {hint}")
    return [(name.removeprefix(written), f"@{name}{slash}{output}") for name in names]
