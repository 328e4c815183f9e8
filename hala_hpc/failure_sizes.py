"""Settings that say how many rows are on a GPU at once, halved when its memory was too small.

Only those that leave the result as it is.
"""

from dataclasses import dataclass
from typing import Any

from hala_hpc.core.settings import StageSettings

#: Settings that may be there: in training, in generation, in benchmarks.
SIZES = (("micro_batch_size",), ("engine", "max_num_seqs"), ("batch_size",))
#: The least that vLLM takes for a GPU by itself (vLLM 0.32, `EngineArgs.get_batch_defaults`).
ENGINE_ROWS = 256


@dataclass(frozen=True)
class Size:
    """A setting and its new value."""

    path: tuple[str, ...]
    before: int | None
    after: int

    def words(self) -> str:
        """`engine.max_num_seqs is 64 instead of 128`."""
        before = "what the engine takes" if self.before is None else self.before
        return f"{'.'.join(self.path)} is {self.after} instead of {before}"

    def put_into(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings with the new value in them."""
        table, name = self.path[:-1], self.path[-1]
        if not table:
            return settings | {name: self.after}
        return settings | {table[0]: settings[table[0]] | {name: self.after}}


def smaller_sizes(
    kind: type[StageSettings], settings: dict[str, Any], ranks: int
) -> list[Size] | None:
    """Half of each size that is above one; None where there is no such setting."""
    found = [path for path in SIZES if is_runtime(kind, path)]
    if not found:
        return None
    sizes = [
        Size(path, value_of(settings, path), rows_at_once(settings, path, ranks) // 2)
        for path in found
    ]
    return [size for size in sizes if size.after > 0]


def rows_at_once(settings: dict[str, Any], path: tuple[str, ...], ranks: int) -> int:
    """Rows that really are at once: no more than a rank's part of the global batch."""
    value = value_of(settings, path)
    rows = ENGINE_ROWS if value is None else value
    whole = settings.get("global_batch_size")
    return rows if whole is None else min(rows, max(1, whole // ranks))


def is_runtime(kind: type[StageSettings], path: tuple[str, ...]) -> bool:
    """Whether a stage has such a setting, and it leaves the result as it is."""
    fields: Any = kind.model_fields
    for name in path[:-1]:
        if name not in fields:
            return False
        fields = getattr(fields[name].annotation, "model_fields", {})
    extra = fields[path[-1]].json_schema_extra if path[-1] in fields else None
    return isinstance(extra, dict) and bool(extra.get("runtime"))


def value_of(settings: dict[str, Any], path: tuple[str, ...]) -> int | None:
    """The value of a setting; None where it is left to the engine."""
    found: Any = settings
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, int) else None
