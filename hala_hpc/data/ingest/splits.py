"""Cut an input into pieces that several processes can read at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from hala_hpc.data.readers.json_array import is_json_array
from hala_hpc.data.readers.json_lines import split_lines
from hala_hpc.data.readers.parquet import row_groups
from hala_hpc.data.readers.records import InputRecord
from hala_hpc.data.readers.sources import DataSource, data_suffix

#: Rows of a piece that travels to another process, fewer where they are long.
BUFFERED_ROWS = 2000
BUFFERED_CHARACTERS = 8_000_000


class InputSplit(Protocol):
    """Rows that follow each other in an input. Small: it travels to another process."""

    def records(self) -> Iterator[InputRecord]:
        """Its rows in order."""
        ...

    def raws(self, wanted: Sequence[int]) -> Iterator[Any]:
        """Some rows as they were, named by their numbers in the piece from 0, in order."""
        ...


@dataclass(frozen=True)
class BufferedSplit:
    """Rows that were read already, because nothing but their reader can tell them apart."""

    rows: list[InputRecord]

    def records(self) -> Iterator[InputRecord]:
        """Its rows in order."""
        return iter(self.rows)

    def raws(self, wanted: Sequence[int]) -> Iterator[Any]:
        """Some rows as they were, named by their numbers in the piece from 0, in order."""
        return (self.rows[number].decoded_raw for number in wanted)


def split_source(source: DataSource, records: Iterator[InputRecord]) -> Iterator[InputSplit]:
    """All rows of a source in order: `records`, unless they can be read in another process."""
    path, kind = Path(source.where), data_suffix(Path(source.where))
    if not path.is_file() or path.suffix == ".gz":
        return buffer_records(records)
    if kind == ".parquet":
        return row_groups(path)
    if kind in {".jsonl", ".ndjson"} or (kind == ".json" and not is_json_array(path)):
        return split_lines(path)
    return buffer_records(records)


def buffer_records(records: Iterator[InputRecord]) -> Iterator[BufferedSplit]:
    """Records in pieces of bounded size."""
    while head := list(islice(records, 1)):
        characters = 0
        for record in islice(records, BUFFERED_ROWS - 1):
            head.append(record)
            characters += len(str(record.raw))
            if characters > BUFFERED_CHARACTERS:
                break
        yield BufferedSplit(head)
