"""Write the shards of a worker: accepted and rejected rows, each to its own file."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import run_on_success
from hala_hpc.data.corpus.messages import TOOLS
from hala_hpc.data.corpus.reader import COLUMNS, DOMAIN, Kind, part_name, rejected_name
from hala_hpc.data.corpus.writer import (
    GROUP_CHARACTERS,
    CorpusWriter,
    RejectedRow,
    RejectWriter,
    RowMatch,
    encode_hex_ids,
    make_fields_type,
)
from hala_hpc.data.ingest.row_searches import PLACE_REASONS, REJECTED
from hala_hpc.data.ingest.shard_plan import ShardPlan, assign_shards
from hala_hpc.data.ingest.spill import FIELDS, SpilledSplit

#: Bytes of text that all shards buffer together before they write.
BUFFERED_BYTES = 128_000_000
#: Marks a raw row that no longer exists in the input.
CHANGED = object()
#: Columns with the reason why a row is rejected.
REJECTION_COLUMNS = ["line", "id", "reason", "raw"]


class ShardColumns(NamedTuple):
    """Columns that a corpus has only if one of its rows has a value."""

    has_fields: bool
    has_domains: bool


class Shard:
    """The two files of a unit and their buffered rows; use as a context manager."""

    def __init__(self, folder: Path, unit: int, kind: Kind, columns: ShardColumns) -> None:
        extra = {DOMAIN: "string"} if columns.has_domains else {}
        part = folder / part_name(unit)
        self.writer = CorpusWriter(part, kind, extra, has_fields=columns.has_fields)
        self.rejects = RejectWriter(folder / rejected_name(unit))
        self.waiting: list[Any] = []
        self._stack = ExitStack()

    def write_waiting(self) -> None:
        """Write the buffered rows as row groups."""
        import pyarrow as pa

        if self.waiting:
            table = pa.concat_tables(self.waiting)
            if FIELDS in table.schema.names:
                table = add_message_fields(table)
            self.writer.add_table(table.set_column(0, "id", hex_ids(table["id"])))
        self.waiting = []

    def __enter__(self) -> Self:
        self._stack.enter_context(self.writer)
        self._stack.enter_context(self.rejects)
        return self

    def close(self) -> None:
        """Rename the files to their final names."""
        self._stack.close()

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


class Shards:
    """Writes some shards from the splits of an input, added in order; a context manager."""

    def __init__(
        self, folders: dict[int, Path], splits: Sequence[SpilledSplit], units: int, threads: int
    ) -> None:
        kind = splits[0].kind
        columns = ShardColumns(
            any(split.has_fields for split in splits), any(split.has_domains for split in splits)
        )
        self.shards = {unit: Shard(folder, unit, kind, columns) for unit, folder in folders.items()}
        self.columns = ["id", "origin", *COLUMNS[kind]]
        self.columns += [FIELDS, TOOLS] if columns.has_fields else []
        self.columns += [DOMAIN] if columns.has_domains else []
        self.units = units
        self.limit = min(BUFFERED_BYTES, GROUP_CHARACTERS * len(folders))
        self.buffered_bytes = 0
        self._stack = ExitStack()
        self._threads = ThreadPoolExecutor(threads)

    def add(self, split: SpilledSplit, places: Any, matches: Mapping[int, RowMatch]) -> None:
        """Add the rows of a split that belong to these shards; `matches` of its rejected rows."""
        import numpy as np

        owner = assign_shards(split.columns("line"), places, self.units)
        mine = np.isin(owner, list(self.shards))
        raws = split.raws(np.flatnonzero(mine & (places < REJECTED)).tolist())
        at = 0
        for table in split.tables():
            rows = slice(at, at + table.num_rows)
            self.add_accepted(table.select(self.columns), places[rows])
            bad = np.flatnonzero(mine[rows] & (places[rows] < 0))
            found = table.select(REJECTION_COLUMNS).take(bad)
            reasons = [PLACE_REASONS.get(place, "") for place in places[rows][bad].tolist()]
            matched = [matches.get(at + row) for row in bad.tolist()]
            lines = rejected_rows(split, found, raws, zip(reasons, matched, strict=True))
            for unit, line in zip(owner[rows][bad].tolist(), lines, strict=True):
                self.shards[unit].rejects.add_line(line)
            at += table.num_rows
            if self.buffered_bytes >= self.limit:
                self.write_waiting()

    def add_accepted(self, table: Any, places: Any) -> None:
        """Buffer the accepted rows."""
        import numpy as np

        units = sorted(self.shards)
        mine = np.flatnonzero(np.isin(places, units))
        order = mine[np.argsort(places[mine], kind="stable")]
        chosen = table.take(order)
        self.buffered_bytes += chosen.nbytes
        starts: Any = np.searchsorted(places[order], units)
        for unit, (start, end) in zip(units, pairwise([*starts.tolist(), len(order)]), strict=True):
            if start < end:
                self.shards[unit].waiting.append(chosen.slice(start, end - start))

    def write_waiting(self) -> None:
        """Write the buffered rows as row groups, all shards in parallel."""
        list(self._threads.map(Shard.write_waiting, self.shards.values()))
        self.buffered_bytes = 0

    def __enter__(self) -> Self:
        self._stack.enter_context(self._threads)
        for shard in self.shards.values():
            self._stack.enter_context(shard)
        run_on_success(self._stack, self.close)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def close(self) -> None:
        """Rename all files to their final names, in parallel: each rename waits for the disk."""
        list(self._threads.map(Shard.close, self.shards.values()))


def write_shards(
    shards: Shards, plan: ShardPlan, splits: Sequence[SpilledSplit], is_stopped: Callable[[], bool]
) -> None:
    """Write all rows of these shards; return early when stopped."""
    start = 0
    for split, places in plan.by_split(splits):
        if is_stopped():
            return
        shards.add(split, places, plan.searches.matches(split, start, places))
        start += split.rows
    shards.write_waiting()


def add_message_fields(table: Any) -> Any:
    """Move the column of the fields into the messages, for those of all rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    messages, fields = (table[name].combine_chunks() for name in ("messages", FIELDS))
    lengths = pc.list_value_length(messages).to_numpy(zero_copy_only=False).astype(np.int64)
    has_fields: Any = np.repeat(fields.is_valid().to_numpy(zero_copy_only=False), lengths)
    places = pa.array(np.cumsum(has_fields) - 1, pa.int64(), mask=~has_fields)
    values = [*messages.flatten().flatten(), *fields.flatten().take(places).flatten()]
    names = ["role", "content", *make_fields_type().names]
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    whole = pa.ListArray.from_arrays(ends, pa.StructArray.from_arrays(values, names=names))
    place = table.schema.get_field_index("messages")
    return table.set_column(place, "messages", whole).drop_columns([FIELDS])


def rejected_rows(
    split: SpilledSplit,
    table: Any,
    raws: Iterator[Any],
    decisions: Iterable[tuple[str, RowMatch | None]],
) -> Iterator[str]:
    """Yield the lines of rejected rows.

    `raws`: the raw rows of those that the plan rejects; `decisions`: for each row the reason of the
    plan, and what it matches.
    """
    for row, (reason, match) in zip(table.to_pylist(), decisions, strict=True):
        if row["reason"]:
            yield row["raw"]
        else:
            raw = next(raws, CHANGED)
            if raw is CHANGED:
                raise UserError(
                    f"data {split.where}: changed while it was read; run the launch again",
                    BAD_DATA,
                )
            row_id = row["id"].hex()
            yield RejectedRow(split.where, row["line"], reason, raw, row_id, match).to_json()


def hex_ids(column: Any) -> Any:
    """Convert ids of 16 bytes to texts of 32 hexadecimal digits."""
    ids = column.combine_chunks()
    return encode_hex_ids(
        ids.buffers()[1][ids.offset * 16 : (ids.offset + len(ids)) * 16].to_pybytes()
    )
