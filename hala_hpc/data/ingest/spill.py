"""Adapted rows on the disk, one Arrow file for each piece of the input.

What is decided over all rows (duplicates, shards) needs their ids and sizes alone, so the texts
wait here and never stand in memory together. A row is at its place in the piece: rows that cannot
be used are in the file as well, without content.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hala_hpc.data.corpus.reader import Kind
from hala_hpc.data.ingest.adapt import Shape, take
from hala_hpc.data.ingest.fast_path import Questions, plain_fields, read_questions
from hala_hpc.data.ingest.spill_writer import SpillWriter, keep_memory, schema_of_spill
from hala_hpc.data.ingest.splits import Held, Piece
from hala_hpc.data.readers.adapters import Adapter, adapters
from hala_hpc.data.readers.json_lines import Lines, stretches

#: How many batches of a file are read back at a time, each of a few MB. Columns of more than 32 MB
#: are memory that glibc takes from the kernel anew each time.
TABLE_BATCHES = 2


@dataclass(frozen=True)
class Reading:
    """A piece that is to be read: names and plain values, so that it can travel."""

    piece: Piece
    where: str
    origin: str
    adapter: str
    shape: Shape
    file: Path

    @property
    def kind(self) -> Kind:
        """Of the rows that come out."""
        return adapters(self.shape.languages)[self.adapter].kind


@dataclass(frozen=True)
class Read:
    """A piece that was read: the file with its rows, and how many they are."""

    file: Path
    where: str
    kind: Kind
    piece: Piece | None
    """To read a row again as it was; None where the file holds that too."""
    rows: int
    reasons: dict[str, int]
    """Rows by reason, good ones under ''."""

    def columns(self, *names: str) -> Any:
        """Some columns of all rows; of the others nothing is read."""
        import pyarrow as pa

        fields = [schema_of_spill(self.kind).get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        with pa.OSFile(str(self.file)) as opened:
            table = pa.ipc.open_file(opened, options=options).read_all()
        return table.slice(0, self.rows).combine_chunks()

    def tables(self) -> Iterator[Any]:
        """All columns, some rows at a time."""
        import pyarrow as pa

        left = self.rows
        with pa.OSFile(str(self.file)) as opened:
            file = pa.ipc.open_file(opened)
            for first in range(0, file.num_record_batches, TABLE_BATCHES):
                last = min(first + TABLE_BATCHES, file.num_record_batches)
                batches = [file.get_batch(number) for number in range(first, last)]
                table = pa.Table.from_batches(batches).slice(0, left)
                left -= table.num_rows
                # In one chunk: of several, pyarrow takes lists fifteen times as slowly.
                yield table.combine_chunks()

    def cut(self, rows: int) -> "Read":
        """The first rows of it alone."""
        import pyarrow.compute as pc

        counts = pc.value_counts(self.columns("reason")["reason"].slice(0, rows)).to_pylist()
        reasons = {count["values"]: count["counts"] for count in counts}
        return replace(self, rows=rows, reasons=reasons)

    def raws(self, wanted: Sequence[int]) -> Iterator[Any]:
        """Some rows as they were, named by their numbers from 0, in order."""
        if self.piece is not None:
            return self.piece.raws(wanted)
        kept = self.columns("kept")["kept"].take(wanted).to_pylist() if wanted else []
        return map(json.loads, kept)


def read_piece(reading: Reading) -> Read:
    """Adapt the rows of a piece and write them to its file."""
    keep_memory()
    adapter = adapters(reading.shape.languages)[reading.adapter]
    keeps_raw = isinstance(reading.piece, Held)
    with SpillWriter(reading.file, reading.kind, keeps_raw) as writer:
        for part, line, questions in many_or_one(reading, adapter):
            if questions is not None:
                writer.add_questions(line, reading.origin, questions)
                continue
            for record in part.records():
                writer.add(record, take(record, reading.origin, adapter, reading.shape))
    piece = None if keeps_raw else reading.piece
    reasons = dict(writer.reasons)
    return Read(reading.file, reading.where, reading.kind, piece, sum(reasons.values()), reasons)


def many_or_one(
    reading: Reading, adapter: Adapter
) -> Iterator[tuple[Piece, int, Questions | None]]:
    """The parts of a piece in order, each with its line, and all its rows if it is plain."""
    fields, piece = plain_fields(adapter.question, reading.shape), reading.piece
    if fields is None or not isinstance(piece, Lines):
        yield piece, 1, None
        return
    for part, data in stretches(piece):
        yield part, part.line, read_questions(data, fields) if data else None
