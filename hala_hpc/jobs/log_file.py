"""The log of one rank of a worker: which lines are whose, when all attempts write into one file."""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: What the worker writes before an attempt. A bar that was cut may stand before it in its line.
HEAD = re.compile(
    rb"--- (?P<began>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?P<attempt>r\d{4}-w\d{5}-\S+) "
    rb"on (?P<host>\S+)\n"
)
#: What moves the cursor, colours, or rings.
ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
BLOCK_BYTES = 65_536


@dataclass(frozen=True)
class LogPart:
    """What one attempt wrote into a log: bytes from `first` up to `last`."""

    attempt: str
    host: str
    first: int
    last: int
    began: str = ""
    """Moment as the clock of the worker's machine showed it, e.g. `2026-11-23 10:00:00`."""


def parts_of(path: Path) -> list[LogPart]:
    """The parts of a log, oldest first; none where there is no log or nothing in it."""
    if not path.is_file() or not (size := path.stat().st_size):
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as text:
        heads = [(match.start(), match.end(), match.groups()) for match in HEAD.finditer(text)]
    ends = [head[0] for head in heads[1:]] + [size]
    return [
        LogPart(attempt.decode(), host.decode(), first, last, began.decode())
        for (_, first, (began, attempt, host)), last in zip(heads, ends, strict=True)
    ]


def whole(path: Path) -> LogPart:
    """A log that is not divided, e.g. that of a gate."""
    return LogPart("", "", 0, path.stat().st_size)


def tail(path: Path, part: LogPart, lines: int) -> list[str]:
    """The last lines of a part, fit for a terminal. Reads no more of the file than it must."""
    first, text = part.last, b""
    with path.open("rb") as file:
        while first > part.first and text.count(b"\n") <= lines:
            last, first = first, max(part.first, first - BLOCK_BYTES)
            file.seek(first)
            text = file.read(last - first) + text
    found = text.decode(errors="replace").split("\n")
    found = found[:-1] if found[-1] == "" else found
    return [clean(line) for line in found[len(found) - min(lines, len(found)) :]]


def new_lines(file: BinaryIO) -> Iterator[str]:
    """Whole lines that were written since the last look, fit for a terminal."""
    while True:
        at = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(at)
            return
        yield clean(line[:-1].decode(errors="replace"))


def clean(line: str) -> str:
    """A line as it stood on the screen at last, without what a terminal would obey."""
    shown = next((part for part in reversed(line.split("\r")) if part.strip()), "")
    return CONTROL.sub("", ESCAPE.sub("", shown))
