"""Cut an input into pieces that several processes can read at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from hala_hpc.data.readers.json_array import is_array
from hala_hpc.data.readers.json_lines import cut_lines
from hala_hpc.data.readers.parquet import row_groups
from hala_hpc.data.readers.records import Record
from hala_hpc.data.readers.sources import Source, ending

#: Rows of a piece that travels to another process, fewer where they are long.
HELD_ROWS = 2000
HELD_CHARACTERS = 8_000_000


class Piece(Protocol):
    """Rows that follow each other in an input. Small: it travels to another process."""

    def records(self) -> Iterator[Record]:
        """Its rows in order."""
        ...

    def raws(self, wanted: Sequence[int]) -> Iterator[Any]:
        """Some rows as they were, named by their numbers in the piece from 0, in order."""
        ...


@dataclass(frozen=True)
class Held:
    """Rows that were read already, because nothing but their reader can tell them apart."""

    rows: list[Record]

    def records(self) -> Iterator[Record]:
        """Its rows in order."""
        return iter(self.rows)

    def raws(self, wanted: Sequence[int]) -> Iterator[Any]:
        """Some rows as they were, named by their numbers in the piece from 0, in order."""
        return (self.rows[number].kept for number in wanted)


def pieces_of(source: Source, records: Iterator[Record]) -> Iterator[Piece]:
    """All rows of a source in order: `records`, unless they can be read in another process."""
    path, kind = Path(source.where), ending(Path(source.where))
    if not path.is_file() or path.suffix == ".gz":
        return held(records)
    if kind == ".parquet":
        return row_groups(path)
    if kind in {".jsonl", ".ndjson"} or (kind == ".json" and not is_array(path)):
        return cut_lines(path)
    return held(records)


def held(records: Iterator[Record]) -> Iterator[Held]:
    """Records in pieces of bounded size."""
    while head := list(islice(records, 1)):
        characters = 0
        for record in islice(records, HELD_ROWS - 1):
            head.append(record)
            characters += len(str(record.raw))
            if characters > HELD_CHARACTERS:
                break
        yield Held(head)
