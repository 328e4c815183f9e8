"""Cut an input into splits that several processes can read in parallel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from hala_hpc.data.readers.data_files import data_suffix
from hala_hpc.data.readers.json_layout import find_layout
from hala_hpc.data.readers.json_lines import split_lines
from hala_hpc.data.readers.parquet import row_groups
from hala_hpc.data.readers.records import InputRecord
from hala_hpc.data.readers.sources import DataSource
from hala_hpc.data.readers.text_files import is_plain_utf8

#: Bounds of a split that is pickled to another process: rows, and characters for long rows.
BUFFERED_ROWS = 2000
BUFFERED_CHARACTERS = 8_000_000


class InputSplit(Protocol):
    """Consecutive rows of an input; small enough to be pickled to another process."""

    def records(self) -> Iterator[InputRecord]:
        """Yield the records in order."""
        ...

    def raws(self, wanted: Sequence[int]) -> Iterator[Any]:
        """Yield the raw rows with these indexes from 0 in the split, in order."""
        ...


@dataclass(frozen=True)
class BufferedSplit:
    """Rows already read, from a source that only its reader can split."""

    rows: list[InputRecord]

    def records(self) -> Iterator[InputRecord]:
        """Yield the records in order."""
        return iter(self.rows)

    def raws(self, wanted: Sequence[int]) -> Iterator[Any]:
        """Yield the raw rows with these indexes from 0 in the split, in order."""
        return (self.rows[number].decoded_raw for number in wanted)


def split_source(source: DataSource, records: Iterator[InputRecord]) -> Iterator[InputSplit]:
    """Split a source; `records` are buffered unless another process can read the file itself."""
    path, text_format = Path(source.where), source.text_format
    kind = data_suffix(path)
    if kind == ".parquet" and path.is_file():
        return row_groups(path)
    is_json = kind in {".jsonl", ".ndjson", ".json"} and is_plain_utf8(path, text_format.encoding)
    if is_json and find_layout(path, text_format).layout == "lines":
        return split_lines(path)
    return buffer_records(records)


def buffer_records(records: Iterator[InputRecord]) -> Iterator[BufferedSplit]:
    """Buffer records into splits of bounded size."""
    while head := list(islice(records, 1)):
        characters = 0
        for record in islice(records, BUFFERED_ROWS - 1):
            head.append(record)
            characters += len(str(record.raw))
            if characters > BUFFERED_CHARACTERS:
                break
        yield BufferedSplit(head)
