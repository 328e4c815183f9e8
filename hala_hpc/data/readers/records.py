"""The record of one input row, and the reader of CSV files."""

import csv
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from hala_hpc.core.errors import BAD_DATA, UserError

#: Longer rows, in bytes, are rejected before parsing: they would not fit any model.
ROW_BYTES = 16 * 1024 * 1024


class InputRecord(NamedTuple):
    """One input row: its source, its line, and its value or the reason why it has none."""

    where: str
    line: int
    """Line of a text file from 1; row number in an array, a Parquet file or a data set."""
    raw: Any
    """Text or bytes of the row; the decoded object for a file that holds no text."""
    value: dict[str, Any] | None
    reason: str = ""
    """Why there is no value: bad-utf8, corrupt-json, not-an-object, too-long, wrong-columns."""

    @property
    def decoded_raw(self) -> Any:
        """The raw row as a JSON value; invalid UTF-8 bytes become lone surrogates."""
        return decode_raw(self.raw)


def decode_raw(raw: Any) -> Any:
    """Convert a raw row to a JSON value from which every byte can be recovered."""
    return raw.decode(errors="surrogateescape") if isinstance(raw, bytes) else raw


def parse_json_record(where: str, line: int, text: str) -> InputRecord:
    """Parse one JSON text, in which invalid UTF-8 bytes are lone surrogates."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return InputRecord(where, line, text, None, "corrupt-json")
    if not isinstance(value, dict):
        return InputRecord(where, line, text, None, "not-an-object")
    return InputRecord(where, line, text, value)


def broken_file_error(path: Path, place: str, problem: str) -> UserError:
    """Make the error for a data file that cannot be read further."""
    return UserError(
        f"data file {path}: cannot be read after {place}: {problem}; repair the file or copy it "
        "again",
        BAD_DATA,
    )


def csv_file(path: Path) -> Iterator[InputRecord]:
    """Read a CSV file (.tsv: tab-separated) whose first line has the column names."""
    csv.field_size_limit(ROW_BYTES)
    where = str(path)
    with open_text(path) as file:
        reader = csv.DictReader(file, delimiter="\t" if ".tsv" in path.suffixes else ",")
        try:
            for row in reader:
                yield csv_record(where, reader.line_num, row)
        except csv.Error as error:
            raise broken_file_error(path, f"line {reader.line_num}", str(error)) from error


def csv_record(where: str, line: int, row: dict[Any, Any]) -> InputRecord:
    """Return the record of one CSV row; no value if it has too many or too few fields."""
    if None in row or None in row.values():
        raw = {key or "more": value for key, value in row.items()}
        return InputRecord(where, line, raw, None, "wrong-columns")
    try:
        "".join(row.values()).encode()
    except UnicodeEncodeError:
        return InputRecord(where, line, row, None, "bad-utf8")
    return InputRecord(where, line, row, row)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading bytes; gzip is decompressed."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open a file for reading text; gzip is decompressed, newlines are not translated."""
    import io

    with open_bytes(path) as file:
        yield io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
