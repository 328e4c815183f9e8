"""Command-line overrides: `key=value`, parsed by the type of the setting, not by their form."""

import json
import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from hala_hpc.core.errors import CONFIG, UserError, suggest_name
from hala_hpc.core.printable import has_controls
from hala_hpc.core.secret_values import secret_mistakes
from hala_hpc.core.settings import TableOrValue


def parse_overrides(arguments: list[str]) -> dict[str, str]:
    """Parse `["a=1", "b.c=x=y"]` to `{"a": "1", "b.c": "x=y"}`.

    Raises: UserError for an argument without `=`, a key that is given twice, control characters
    outside of settings, and secrets, which it does not show.
    """
    overrides: dict[str, str] = {}
    mistakes = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            mistakes.append(f"{argument!r} is not of the form key=value{suggest_form(argument)}")
        elif key in overrides:
            mistakes.append(f"{key} is given twice: {overrides[key]!r} and {value!r}; keep one")
        elif has_controls(key) or ("." not in key and has_controls(value)):
            # Settings may be texts of several lines; all else are names, paths and numbers.
            mistakes.append(f"{key}={value!r} holds control characters: write it without them")
        overrides[key] = value
    # Before other mistakes, which show the values.
    if secrets := secret_mistakes(overrides):
        raise UserError(secrets, CONFIG)
    if mistakes:
        raise UserError(mistakes)
    return overrides


def suggest_form(argument: str) -> str:
    """Suggest the right form to somebody who writes `--dry-run`, as in other programs."""
    name = argument.removeprefix("--").replace("-", "_")
    if argument == name or not name.isidentifier():
        return ""
    return f": write {name}=..., without dashes (dry_run=true, or --help alone)"


def strip_optional(annotation: Any) -> Any:
    """A type without Annotated and without `| None`."""
    if get_origin(annotation) is Annotated:
        return strip_optional(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [item for item in get_args(annotation) if item is not type(None)]
        return strip_optional(inner[0]) if len(inner) == 1 else annotation
    return annotation


def accepts_list(annotation: Any) -> bool:
    """Whether a setting of this type holds several values."""
    return get_origin(strip_optional(annotation)) in (list, tuple, set, frozenset)


def accepts_text(annotation: Any) -> bool:
    """Whether any text is a valid value of this type, commas included."""
    return strip_optional(annotation) is str


def parse_value(annotation: Any, text: str) -> Any:
    """The raw value of an override for a setting of this type; pydantic checks it afterwards.

    A comma separates values, except in text, where only a JSON list holds several. Several values
    for a setting that takes one are a sweep.
    """
    if text in ("none", "null") and type(None) in get_args(annotation):
        return None
    if text.startswith("[") and text.endswith("]"):
        try:
            return json.loads(text)
        except ValueError:
            return [item.strip() for item in text[1:-1].split(",") if item.strip()]
    if accepts_list(annotation):
        return [item.strip() for item in text.split(",") if item.strip()]
    if "," in text and not accepts_text(annotation):
        return [item.strip() for item in text.split(",")]
    return text


def apply_override(settings: type[BaseModel], path: str, text: str, raw: dict[str, Any]) -> None:
    """Put the value of the dotted `path` into the nested table `raw`.

    Raises: UserError with the closest valid name for a setting that does not exist.
    """
    name, _, rest = path.partition(".")
    if name not in settings.model_fields:
        hint = suggest_name(name, list(settings.model_fields), "settings")
        raise UserError(f"unknown setting {name!r}: {hint}")
    annotation = settings.model_fields[name].annotation
    inner = strip_optional(annotation)
    if not rest:
        raw[name] = parse_value(annotation, text)
    elif isinstance(inner, type) and issubclass(inner, BaseModel):
        nested = raw.setdefault(name, {})
        if not isinstance(nested, dict) and issubclass(inner, TableOrValue):
            nested = raw[name] = {inner.single: nested}
        apply_override(inner, rest, text, nested)
    elif get_origin(inner) is dict:
        raw.setdefault(name, {})[rest] = parse_value(get_args(inner)[1], text)
    else:
        raise UserError(f"setting {name!r} holds one value: {path} has too many parts")
