"""Rows of files of JSON lines, read fast and, where that fails, exactly.

A login node without the libraries of the jobs can look into a file as well.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

from hala_hpc.data.records import ROW_BYTES, Record, kept, open_bytes, parse

#: What is kept of a row that is too long, in bytes.
KEPT_BYTES = 1000
#: How much of a file one piece of it has, in bytes.
PIECE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Lines:
    """A stretch of a file of JSON lines, or all of it."""

    path: Path
    offset: int = 0
    """Byte of the file where it begins, at the start of a line."""
    size: int | None = None
    """Bytes of it; None for all that follow."""
    line: int = 1
    """Number of its first line."""

    def rows(self) -> Iterator[tuple[int, bytes, bool]]:
        """Number and bytes of each line that is not blank, and whether it is too long.

        Of a line that is too long only the start is given, so that memory stays bounded.
        """
        with open_bytes(self.path) as file:
            file.seek(self.offset)
            line, left = self.line - 1, self.size
            while (left is None or left > 0) and (data := file.readline(ROW_BYTES)):
                line, length = line + 1, len(data)
                if line == 1:
                    data = data.removeprefix(b"\xef\xbb\xbf")
                if length == ROW_BYTES and not data.endswith(b"\n"):
                    length += skip_line(file)
                    yield line, data[:KEPT_BYTES], True
                elif data.strip():
                    yield line, data.rstrip(b"\r\n"), False
                left = None if left is None else left - length

    def raws(self, wanted: Sequence[int]) -> Iterator[Any]:
        """What is kept of some rows, named by their numbers from 0, in order."""
        numbers = set(wanted)
        return (kept(data) for n, (_, data, _) in enumerate(self.rows()) if n in numbers)

    def records(self) -> Iterator[Record]:
        """The records of these lines."""
        where, loads, bad = str(self.path), fast_loads(), fast_errors()
        for line, data, too_long in self.rows():
            if too_long:
                yield Record(where, line, data, None, "too-long")
                continue
            try:
                value = loads(data)
            except bad:
                yield from_bytes(where, line, data)
                continue
            if isinstance(value, dict):
                yield Record(where, line, data, value)
            else:
                yield Record(where, line, data, None, "not-an-object")


def skip_line(file: IO[bytes]) -> int:
    """Read to the end of a line, and count its bytes."""
    skipped = 0
    while rest := file.readline(ROW_BYTES):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


@cache
def fast_loads() -> Callable[[bytes], Any]:
    """A JSON reader that gives what `json` gives, or one of `fast_errors`.

    msgspec where it is installed: three times as fast, and it refuses lone surrogates and bytes
    that are no UTF-8.
    """
    try:
        import msgspec
    except ImportError:
        return lambda data: json.loads(data.decode())
    return cast(Callable[[bytes], Any], msgspec.json.Decoder().decode)


@cache
def fast_errors() -> tuple[type[Exception], ...]:
    """What `fast_loads` raises for text that it cannot read; `json` may still read it."""
    try:
        import msgspec
    except ImportError:
        return ValueError, RecursionError
    return msgspec.MsgspecError, ValueError, RecursionError


def json_lines(path: Path) -> Iterator[Record]:
    """One JSON object per line; blank lines are no rows, but count as lines."""
    return Lines(path).records()


def cut_lines(path: Path, piece_bytes: int = PIECE_BYTES) -> Iterator[Lines]:
    """A file that is not gzipped, in pieces that end where a line ends."""
    with path.open("rb") as file:
        offset, line = 0, 1
        while data := file.read(piece_bytes):
            size, lines = len(data), data.count(b"\n")
            if not data.endswith(b"\n"):
                size += skip_line(file)
                lines += 1
            yield Lines(path, offset, size, line)
            offset, line = offset + size, line + lines


def from_bytes(where: str, line: int, data: bytes) -> Record:
    """The record of one line of a file, read the slow and exact way."""
    try:
        return parse(where, line, data.decode())
    except UnicodeDecodeError:
        return Record(where, line, data, None, "bad-utf8")
