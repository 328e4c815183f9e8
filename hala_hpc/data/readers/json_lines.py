"""Read files of JSON lines: with msgspec, or with `json` where msgspec fails.

Works without the libraries of the jobs, so a login node can inspect a file as well.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

from hala_hpc.data.readers.records import (
    ROW_BYTES,
    InputRecord,
    decode_raw,
    json_record,
    parse_json_record,
)
from hala_hpc.data.readers.text_files import PLAIN_TEXT, TextFormat, find_encoding, open_bytes

#: Bytes that are stored of a row that is too long.
RAW_PREFIX_BYTES = 1000
#: Bytes of one split of a file.
SPLIT_BYTES = 32 * 1024 * 1024
#: Bytes that are read at a time. One bad row makes its whole chunk slow to read. For chunks of
#: megabytes the kernel would clear new memory at every read.
READ_BYTES = 256 * 1024


@dataclass(frozen=True)
class LineRange:
    """A range of lines in a file of JSON lines, or the whole file."""

    path: Path
    offset: int = 0
    """Byte offset of the range, at the start of a line."""
    size: int | None = None
    """Bytes of the range; None for the rest of the file."""
    line: int = 1
    """Number of the first line, from 1."""
    encoding: str = "utf-8"
    """Other encodings are read from the start only."""

    def rows(self) -> Iterator[tuple[int, bytes, bool]]:
        """Yield number and bytes of each line that is not blank, and whether it is too long.

        Only the start of a line that is too long is given, so that memory stays bounded.
        """
        with open_bytes(self.path, self.encoding) as file:
            if self.offset:
                file.seek(self.offset)
            line, left = self.line - 1, self.size
            while (left is None or left > 0) and (data := file.readline(ROW_BYTES)):
                line, length = line + 1, len(data)
                if line == 1:
                    data = data.removeprefix(b"\xef\xbb\xbf")
                if length == ROW_BYTES and not data.endswith(b"\n"):
                    length += skip_line(file)
                    yield line, data[:RAW_PREFIX_BYTES], True
                elif data.strip():
                    yield line, data.rstrip(b"\r\n"), False
                left = None if left is None else left - length

    def raws(self, wanted: Sequence[int]) -> Iterator[Any]:
        """Yield the raw rows with these indexes from 0, in order."""
        at = first = 0
        for part, data in read_chunks(self):
            if at == len(wanted):
                return
            # A byte order mark or a line that is too long needs the exact path.
            exact = part.line == 1 or not data
            rows = [row for _, row, _ in part.rows()] if exact else full_lines(data)
            while at < len(wanted) and wanted[at] < first + len(rows):
                yield decode_raw(rows[wanted[at] - first].rstrip(b"\r"))
                at += 1
            first += len(rows)

    def records(self) -> Iterator[InputRecord]:
        """Yield the records of these lines."""
        where, loads, bad = str(self.path), fast_loads(), fast_errors()
        for line, data, too_long in self.rows():
            if too_long:
                yield InputRecord(where, line, data, None, "too-long")
                continue
            try:
                value = loads(data)
            except bad:
                yield from_bytes(where, line, data)
                continue
            yield json_record(where, line, data, value)


def read_chunks(lines: LineRange) -> Iterator[tuple[LineRange, bytes]]:
    """Yield chunks of a range of known size with their bytes; b"" if a line is too long."""
    assert lines.size is not None
    at, end, line = lines.offset, lines.offset + lines.size, lines.line
    with open_bytes(lines.path, lines.encoding) as file:
        file.seek(at)
        while at < end and (data := file.read(min(READ_BYTES, end - at))):
            if not data.endswith(b"\n"):
                data += file.readline(ROW_BYTES)
            size, count = len(data), data.count(b"\n")
            if not data.endswith(b"\n") and at + size < end:
                size, count = size + skip_line(file), count + 1
            yield LineRange(lines.path, at, size, line), data if size < ROW_BYTES else b""
            at, line = at + size, line + count


def full_lines(data: bytes) -> list[bytes]:
    """Return the lines that are not blank."""
    return list(filter(bytes.strip, data.split(b"\n")))


def skip_line(file: IO[bytes]) -> int:
    """Read to the end of a line; return the number of bytes read."""
    skipped = 0
    while rest := file.readline(ROW_BYTES):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


@cache
def fast_loads() -> Callable[[bytes], Any]:
    """Return a JSON decoder that gives the same values as `json` or raises a `fast_errors`.

    It is msgspec where that is installed: three times as fast, and it refuses lone surrogates and
    bytes that are not UTF-8.
    """
    try:
        import msgspec
    except ImportError:
        return lambda data: json.loads(data.decode())
    return cast(Callable[[bytes], Any], msgspec.json.Decoder().decode)


@cache
def fast_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of `fast_loads` for text it cannot read; `json` may still read it."""
    try:
        import msgspec
    except ImportError:
        return ValueError, RecursionError
    return msgspec.MsgspecError, ValueError, RecursionError


def json_lines(path: Path, text_format: TextFormat = PLAIN_TEXT) -> Iterator[InputRecord]:
    """Read one JSON object per line; blank lines are no rows but count in line numbers."""
    return LineRange(path, encoding=find_encoding(path, text_format.encoding)).records()


def split_lines(path: Path, split_bytes: int = SPLIT_BYTES) -> Iterator[LineRange]:
    """Cut a file that is not gzipped into ranges that end at line ends."""
    offset, line = 0, 1
    with path.open("rb") as file:
        size, lines = next_lines(file, split_bytes)
        while size:
            yield LineRange(path, offset, size, line)
            offset, line = offset + size, line + lines
            size, lines = next_lines(file, split_bytes)


def next_lines(file: IO[bytes], wanted_bytes: int) -> tuple[int, int]:
    """Read about `wanted_bytes`, up to the end of a line; return the bytes and lines read."""
    size, lines, ended = 0, 0, True
    while size < wanted_bytes and (data := file.read(min(READ_BYTES, wanted_bytes - size))):
        size, lines, ended = size + len(data), lines + data.count(b"\n"), data.endswith(b"\n")
    return (size, lines) if ended else (size + skip_line(file), lines + 1)


def from_bytes(where: str, line: int, data: bytes) -> InputRecord:
    """Return the record of one line, decoded with `json`."""
    try:
        return parse_json_record(where, line, data.decode())
    except UnicodeDecodeError:
        return InputRecord(where, line, data, None, "bad-utf8")
