"""A node of a recipe, before and after its settings are checked."""

from dataclasses import dataclass
from typing import Any

from hala_hpc.core.records import StageSource
from hala_hpc.core.settings import StageSettings
from hala_hpc.core.stage import Stage


@dataclass(frozen=True)
class Draft:
    """A node before its settings are checked: the raw table as written."""

    name: str
    stage: type[Stage[Any]]
    raw: dict[str, Any]
    written: str
    """Its name in the recipe; a sweep makes several nodes of one."""
    source: StageSource | None = None
    """Source of the stage; None for one of ours."""


@dataclass(frozen=True)
class Node:
    """One named step with its settings."""

    name: str
    stage: type[Stage[Any]]
    settings: StageSettings
    written: str
    source: StageSource | None = None
    """Source of the stage; None for one of ours."""

    def input_nodes(self) -> list[str]:
        """Names of the nodes that this one reads from, each once."""
        names = [
            value[1:].partition("/")[0]
            for _, value, _ in self.settings.references()
            if value.startswith("@")
        ]
        return list(dict.fromkeys(names))

    def matches(self, name: str) -> bool:
        """Whether a name in `stage=` means this node, the node it was made from, or its stage."""
        return name in (self.name, self.written, self.stage.name)
