"""What may stand behind each argument of the commands, for completion: names, files, or nothing."""

import types
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from hala_hpc.core.overrides import strip_optional
from hala_hpc.core.settings import TableOrValue


class ValueKind(StrEnum):
    """Values that are looked up where completion is asked for."""

    RECIPE = "recipe"
    """A shipped recipe, or a TOML file."""
    LAUNCHER = "launcher"
    """A shipped launcher, or a TOML file."""
    FOLDER = "folder"
    NODES = "nodes"
    """Nodes and stages, several with commas."""
    NODE = "node"
    """One node."""
    ANY = "any"
    """A number or a name of which nothing is known beforehand."""


#: The values of an enumeration, or their kind.
Values = tuple[str, ...] | ValueKind

BOOLEAN: Values = ("true", "false")
#: By argument; `<command>.<argument>` is stronger. A test holds that none is missing.
ARGUMENT_VALUES: Mapping[str, Values] = {
    "stage": ValueKind.NODES,
    "node": ValueKind.NODE,
    "ratings.node": ValueKind.NODES,
    "recipe": ValueKind.RECIPE,
    "launcher": ValueKind.LAUNCHER,
    "work": ValueKind.FOLDER,
    "render": ValueKind.FOLDER,
    "upload": ValueKind.ANY,
    **dict.fromkeys(("name", "systems", "items", "attention", "seed", "raters"), ValueKind.ANY),
    "language": ValueKind.ANY,
    "format": ("text", "json"),
    "launch.format": ("text", "markdown"),
    "status.format": ("text", "json", "html"),
    "max_gpu_hours": ValueKind.ANY,
    "budget_gpu_hours": ValueKind.ANY,
    **dict.fromkeys(("data", "limit"), ValueKind.ANY),
    **dict.fromkeys(("language", "from", "base", "teacher", "gpus", "kinds"), ValueKind.ANY),
    # A recipe of `new`, a file of `archive`.
    "to": ValueKind.ANY,
    "unit": ValueKind.ANY,
    "worker": ValueKind.ANY,
    "rank": ValueKind.ANY,
    "attempt": ValueKind.ANY,
    "lines": ValueKind.ANY,
    **dict.fromkeys(("dry_run", "rehearse", "confirm", "follow", "failed", "rejected"), BOOLEAN),
    **dict.fromkeys(("repair", "job", "check", "update", "private"), BOOLEAN),
}


def find_values(command: str, argument: str) -> Values:
    """What may stand behind an argument of a command."""
    return ARGUMENT_VALUES.get(
        f"{command}.{argument}", ARGUMENT_VALUES.get(argument, ValueKind.ANY)
    )


def list_settings(settings: type[BaseModel], before: str = "") -> Iterator[tuple[str, Values]]:
    """Every setting of a stage by its dotted name, and its values.

    The name ends as a line goes on behind it: with `=`, or with `.` where keys are free.
    """
    for name, field in settings.model_fields.items():
        kind = strip_optional(field.annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if issubclass(kind, TableOrValue):
                yield f"{before}{name}=", ValueKind.ANY
            yield from list_settings(kind, f"{before}{name}.")
        elif get_origin(kind) is dict:
            yield f"{before}{name}.", ValueKind.ANY
        else:
            found = list_choices(field.annotation)
            yield f"{before}{name}=", found or ValueKind.ANY


def list_choices(annotation: Any) -> tuple[str, ...]:
    """The values of a type that has few; none for others."""
    kind = strip_optional(annotation)
    if kind is bool:
        return ("true", "false")
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    inner = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType, list, tuple):
        return tuple(choice for one in inner for choice in list_choices(one))
    return ()
