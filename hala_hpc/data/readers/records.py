"""What a row of an input is, and the rows of CSV files."""

import csv
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from hala_hpc.core.errors import BAD_DATA, UserError

#: A longer row is rejected before it is parsed, in bytes: it would not fit any model.
ROW_BYTES = 16 * 1024 * 1024


class InputRecord(NamedTuple):
    """One row of an input: where it stands, and its value or the reason why it has none."""

    where: str
    line: int
    """Line of a text file from 1; number of the row in an array, a Parquet file or a data set."""
    raw: Any
    """The text or bytes of the row, or the object where the file holds no text."""
    value: dict[str, Any] | None
    reason: str = ""
    """Why there is no value: bad-utf8, corrupt-json, not-an-object, too-long, wrong-columns."""

    @property
    def decoded_raw(self) -> Any:
        """The row as it was, for JSON: bytes that are no UTF-8 stand as lone surrogates."""
        return decode_raw(self.raw)


def decode_raw(raw: Any) -> Any:
    """A raw row as a value for JSON, of which every byte can be had back."""
    return raw.decode(errors="surrogateescape") if isinstance(raw, bytes) else raw


def parse_json_record(where: str, line: int, text: str) -> InputRecord:
    """The record of one JSON text; bytes that were no UTF-8 stand in it as lone surrogates."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return InputRecord(where, line, text, None, "corrupt-json")
    if not isinstance(value, dict):
        return InputRecord(where, line, text, None, "not-an-object")
    return InputRecord(where, line, text, value)


def broken_file_error(path: Path, place: str, problem: str) -> UserError:
    """The mistake that tells of a file which cannot be read on."""
    return UserError(
        f"data file {path}: cannot be read after {place}: {problem}; mend the file or copy it "
        "again",
        BAD_DATA,
    )


def csv_file(path: Path) -> Iterator[InputRecord]:
    """Rows of a CSV file (.tsv: tabs between fields) with a first line of column names."""
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
    """The record of one CSV row; rows with fields too many or too few have no value."""
    if None in row or None in row.values():
        raw = {key or "more": value for key, value in row.items()}
        return InputRecord(where, line, raw, None, "wrong-columns")
    try:
        "".join(row.values()).encode()
    except UnicodeEncodeError:
        return InputRecord(where, line, row, None, "bad-utf8")
    return InputRecord(where, line, row, row)


def open_bytes(path: Path) -> IO[bytes]:
    """A file for reading, unpacked where it is gzipped."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """A file for reading as text, unpacked where it is gzipped; newlines stay as they are."""
    import io

    with open_bytes(path) as file:
        yield io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
