"""Rows of text files as they stand there: JSON lines, JSON arrays and CSV, each with its place.

Only the standard library, so that a login node can look into a file as well.
"""

import csv
import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from hala_hpc.core.errors import BAD_DATA, UserError

#: A longer row is rejected before it is parsed, in bytes: it would not fit any model.
ROW_BYTES = 16 * 1024 * 1024
#: What is kept of such a row, in characters.
KEPT_CHARACTERS = 1000
#: How much of a JSON array is read at a time, in characters.
CHUNK_CHARACTERS = 1024 * 1024
BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Record:
    """One row of an input: where it stands, and its value or the reason why it has none."""

    where: str
    line: int
    """Line of a text file from 1; number of the row in an array, a Parquet file or a data set."""
    raw: Any
    """The text of the row, or the object where the file holds no text."""
    value: dict[str, Any] | None
    reason: str = ""
    """Why there is no value: bad-utf8, corrupt-json, not-an-object, too-long, wrong-columns."""


def parse(where: str, line: int, text: str) -> Record:
    """The record of one JSON text; bytes that were no UTF-8 stand in it as lone surrogates."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Record(where, line, text, None, "corrupt-json")
    if not isinstance(value, dict):
        return Record(where, line, text, None, "not-an-object")
    return Record(where, line, text, value)


def json_lines(path: Path) -> Iterator[Record]:
    """One JSON object per line; blank lines are no rows, but count as lines."""
    where = str(path)
    with open_bytes(path) as file:
        line = 0
        while data := file.readline(ROW_BYTES):
            line += 1
            if line == 1:
                data = data.removeprefix(b"\xef\xbb\xbf")
            if len(data) == ROW_BYTES and not data.endswith(b"\n"):
                while (rest := file.readline(ROW_BYTES)) and not rest.endswith(b"\n"):
                    pass
                start = data[:KEPT_CHARACTERS].decode(errors="surrogateescape")
                yield Record(where, line, start, None, "too-long")
            elif data.strip():
                yield from_bytes(where, line, data.rstrip(b"\r\n"))


def from_bytes(where: str, line: int, data: bytes) -> Record:
    """The record of one line of a file."""
    try:
        return parse(where, line, data.decode())
    except UnicodeDecodeError:
        text = data.decode(errors="surrogateescape")
        return Record(where, line, text, None, "bad-utf8")


def json_file(path: Path) -> Iterator[Record]:
    """The objects of a JSON array, or of JSON lines that go by the name of .json."""
    with open_bytes(path) as file:
        start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return json_array(path) if start[:1] in (b"[", b"") else json_lines(path)


def json_array(path: Path) -> Iterator[Record]:
    """The objects of one JSON array, in bounded memory.

    Not with ijson: its fast backend turns lone surrogates into question marks and keeps no text.
    Raises UserError 65 where the array breaks: what follows cannot be told apart.
    """
    with open_text(path) as file:
        for number, text in enumerate(array_texts(file, path), start=1):
            yield checked(parse(str(path), number, text))


def array_texts(file: IO[str], path: Path) -> Iterator[str]:
    """The text of each element of an array."""
    buffer, at, number = file.read(CHUNK_CHARACTERS).lstrip(), 1, 0
    while buffer:
        at = cast(re.Match[str], BETWEEN.match(buffer, at)).end()
        if buffer[at : at + 1] == "]":
            if (buffer[at + 1 :] + file.read(CHUNK_CHARACTERS)).strip():
                raise broken(path, f"row {number}", "more follows the end of the array")
            return
        end = element_end(buffer, at)
        # A number that ends where the buffer ends may go on in the next chunk.
        if end < len(buffer):
            yield buffer[at:end]
            at, number = end, number + 1
            continue
        # Doubled each time, so that a long row is not parsed over and over.
        more = file.read(max(CHUNK_CHARACTERS, len(buffer) - at))
        if not more or len(buffer) - at > ROW_BYTES:
            raise broken(path, f"row {number}", "what follows is no JSON, or the array has no end")
        buffer, at = buffer[at:] + more, 0


def element_end(buffer: str, at: int) -> int:
    """Where the element that begins at `at` ends; the end of the buffer when it is not whole."""
    try:
        return json.JSONDecoder().raw_decode(buffer, at)[1]
    except (ValueError, RecursionError):
        return len(buffer)


def checked(record: Record) -> Record:
    """The record, or its rejection when its text held bytes that are no UTF-8."""
    if record.raw.isascii():
        return record
    try:
        record.raw.encode()
    except UnicodeEncodeError:
        return Record(record.where, record.line, record.raw, None, "bad-utf8")
    return record


def broken(path: Path, place: str, problem: str) -> UserError:
    """The mistake that tells of a file which cannot be read on."""
    return UserError(
        f"data file {path}: cannot be read after {place}: {problem}; mend the file or copy it "
        "again",
        BAD_DATA,
    )


def csv_file(path: Path) -> Iterator[Record]:
    """Rows of a CSV file (.tsv: tabs between fields) with a first line of column names."""
    csv.field_size_limit(ROW_BYTES)
    where = str(path)
    with open_text(path) as file:
        reader = csv.DictReader(file, delimiter="\t" if ".tsv" in path.suffixes else ",")
        try:
            for row in reader:
                yield csv_record(where, reader.line_num, row)
        except csv.Error as error:
            raise broken(path, f"line {reader.line_num}", str(error)) from error


def csv_record(where: str, line: int, row: dict[Any, Any]) -> Record:
    """The record of one CSV row; rows with fields too many or too few have no value."""
    if None in row or None in row.values():
        kept = {key or "more": value for key, value in row.items()}
        return Record(where, line, kept, None, "wrong-columns")
    try:
        "".join(row.values()).encode()
    except UnicodeEncodeError:
        return Record(where, line, row, None, "bad-utf8")
    return Record(where, line, row, row)


def open_bytes(path: Path) -> IO[bytes]:
    """A file for reading, unpacked where it is gzipped."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """A file for reading as text, unpacked where it is gzipped; newlines stay as they are."""
    import io

    with open_bytes(path) as file:
        yield io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
