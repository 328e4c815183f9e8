"""The settings of a stage: typed, frozen, and in two halves.

Settings that change the result are in the fingerprint; `resources` and fields made with `runtime()`
are not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from hala_hpc.core.resources import Resources


@dataclass(frozen=True)
class Reference:
    """Declares that a setting names an input; `kinds` are the valid kinds of product."""

    kinds: tuple[str, ...]


ModelRef = Annotated[str, Reference(("model",))]
"""A hub id, a folder with weights, or `@node` of a node that makes a model."""
CorpusRef = Annotated[str, Reference(("corpus",))]
"""A folder of Parquet shards, or `@node` of a node that makes a corpus."""
FilesRef = Annotated[str, Reference(("files",))]
"""A file, a folder, a hub id, or `@node/path` inside the files that a node writes."""
RowsRef = Annotated[str, Reference(("files", "corpus"))]
"""As FilesRef, or `@node` of a node that makes a corpus."""
TokensRef = Annotated[str, Reference(("tokens",))]
"""A folder of token files, or `@node` of a node that makes them."""
#: Kinds of product of a stage.
KINDS = ("model", "corpus", "files", "tokens", "scores", "page")
NodeRef = Annotated[str, Reference(KINDS)]
"""`@node` of any kind."""


T = TypeVar("T")


def as_list(value: Any) -> Any:
    """A single text or number as a list of one."""
    return [value] if isinstance(value, str | int | float) else value


OneOrMany = Annotated[list[T], BeforeValidator(as_list)]
"""A list that may be given as a single value."""


def runtime(default: Any) -> Any:
    """A setting with this default that does not change the result, e.g. a memory share."""
    return Field(default, json_schema_extra={"runtime": True})


class TableOrValue(BaseModel):
    """A table of settings that may be given as a single value, that of the field `single`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    single: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def read_single(cls, value: Any) -> Any:
        """A value that is no table as a table of one field."""
        return value if isinstance(value, dict | BaseModel) else {cls.single: value}

    @model_serializer(mode="wrap")
    def write_single(self, write: SerializerFunctionWrapHandler) -> Any:
        """The single value again, where all other fields have their defaults."""
        values: dict[str, Any] = write(self)
        for name, field in type(self).model_fields.items():
            if name != self.single and getattr(self, name) != field.default:
                return values
        return values[self.single]


class Change(NamedTuple):
    """A setting that got another value."""

    name: str
    """Dotted, e.g. `engine.max_num_seqs`."""
    before: Any
    after: Any

    @property
    def text(self) -> str:
        """`engine.max_num_seqs is 64 instead of 128`."""
        before = "the engine's default" if self.before is None else self.before
        return f"{self.name} is {self.after} instead of {before}"


class StageSettings(BaseModel):
    """Settings that every stage has."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    resources: Resources = Resources()
    """What each job of the node gets. Never changes the result."""

    @classmethod
    def is_runtime(cls, name: str) -> bool:
        """Whether a setting does not change the result."""
        extra = cls.model_fields[name].json_schema_extra
        return name == "resources" or (isinstance(extra, dict) and bool(extra.get("runtime")))

    def result_half(self) -> dict[str, Any]:
        """The settings that change the result, as plain values."""
        values = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if not self.is_runtime(name)}

    def references(self) -> Iterator[tuple[str, str, Reference]]:
        """Every input that is named: setting, value, and the kinds that are valid there."""
        for name, found in references_in(type(self)).items():
            for value in strings_in(getattr(self, name)):
                yield name, value, found


@cache
def references_in(settings: type[BaseModel]) -> dict[str, Reference]:
    """The settings of a class that name inputs, each with the kinds that are valid there."""
    found = {
        name: find_reference(field.annotation, field.metadata)
        for name, field in settings.model_fields.items()
    }
    return {name: reference for name, reference in found.items() if reference is not None}


def find_reference(annotation: Any, metadata: list[Any]) -> Reference | None:
    """The Reference inside a field's type, also in lists, dicts and unions."""
    for item in metadata:
        if isinstance(item, Reference):
            return item
    for argument in get_args(annotation):
        inner = list(getattr(argument, "__metadata__", ()))
        found = find_reference(argument, inner)
        if found is not None:
            return found
    return None


def changed_values(before: BaseModel, after: BaseModel, prefix: str = "") -> list[Change]:
    """The settings whose value differs in `after`, by dotted names."""
    found: list[Change] = []
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, BaseModel) and isinstance(new, BaseModel):
            found += changed_values(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(Change(f"{prefix}{name}", old, new))
    return found


def strings_in(value: Any) -> Iterator[str]:
    """All strings in a value, through lists and the values of dicts; empty ones left out."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_in(item)


def rename_references(value: Any, names: dict[str, str]) -> Any:
    """The same value with `@old` and `@old/path` renamed to `@new`, through lists and dicts."""
    if isinstance(value, str) and value.startswith("@"):
        node, slash, path = value[1:].partition("/")
        return f"@{names.get(node, node)}{slash}{path}"
    if isinstance(value, dict):
        return {key: rename_references(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [rename_references(item, names) for item in value]
    return value
