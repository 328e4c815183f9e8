"""Make the nodes of a rehearsal: those of the recipe with less work, under their own names."""

from collections.abc import Mapping
from dataclasses import replace

from hala_hpc.core.node import Node
from hala_hpc.core.rehearsal import REHEARSAL_PREFIX
from hala_hpc.core.settings import StageSettings, rename_references
from hala_hpc.core.stage import UnknownInputs


def make_rehearsal_nodes(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Make the rehearsal version of every node of a recipe, inputs first.

    A node whose work does not shrink, and whose inputs do not, stays the real node: the full run
    uses its result. All others are renamed, so that their results never mix with real ones.
    """
    names: dict[str, str] = {}
    found: dict[str, Node] = {}
    for name, node in nodes.items():
        settings = node.stage(node.settings, UnknownInputs()).rehearsed()
        if settings == node.settings and not any(one in names for one in node.input_nodes()):
            found[name] = node
            continue
        names[name] = f"{REHEARSAL_PREFIX}{name}"
        found[names[name]] = replace(
            node, name=names[name], settings=rename_rehearsed_inputs(settings, names)
        )
    return found


def rename_rehearsed_inputs(settings: StageSettings, names: Mapping[str, str]) -> StageSettings:
    """Settings with rehearsed inputs and one worker: there are few rows."""
    values = rename_references(settings.model_dump(), dict(names))
    values["resources"] = {**values["resources"], "workers": 1}
    return type(settings).model_validate(values)
