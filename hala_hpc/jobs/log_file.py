"""The log file of one rank of a worker: all attempts append to it, each after its own header.

The header is written and parsed here only.
"""

import mmap
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: The header of an attempt. A cut progress bar may precede it on its line.
HEAD = re.compile(
    rb"--- (?P<began>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?P<attempt>r\d{4,}-w\d{5,}-\S+) "
    rb"on (?P<host>\S+)\n"
)
#: Maximum length of a header in bytes: names of jobs and of hosts have limits.
HEAD_BYTES = 1024
#: Terminal escape sequences: cursor movement, colours, titles.
ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
BLOCK_BYTES = 65_536
#: Block size of the search for a header.
SEARCH_BYTES = 4_194_304


@dataclass(frozen=True)
class LogPart:
    """The part of a log that one attempt wrote: bytes from `first` up to `last`."""

    attempt: str
    host: str
    first: int
    last: int
    began: str = ""
    """Start by the clock of the worker's machine, e.g. `2026-11-23 10:00:00`."""


def format_log_head(attempt: str) -> bytes:
    """The header line that the worker writes into the log before an attempt."""
    return f"--- {time.strftime('%F %T')} {attempt} on {socket.gethostname()}\n".encode()


def list_log_parts(path: Path) -> list[LogPart]:
    """The parts of a log, oldest first; empty if the log is absent or empty."""
    if not path.is_file() or not (size := path.stat().st_size):
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as text:
        heads = [(match.start(), match.end(), match.groups()) for match in HEAD.finditer(text)]
    # A damaged log may have no header at all.
    ends = [head[0] for head in heads[1:]] + [size] * bool(heads)
    return [
        LogPart(attempt.decode(), host.decode(), first, last, began.decode())
        for (_, first, (began, attempt, host)), last in zip(heads, ends, strict=True)
    ]


def parts_from_end(path: Path) -> Iterator[LogPart]:
    """Yield the parts of a log, newest first; nothing if there is no log.

    Reads the file in blocks from its end, only as far as needed: a log may be larger than the
    memory of a gate.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        first = last = file.seek(0, 2)
        while first:
            # Headers that begin in this block, including one that ends in the next block.
            start = max(0, first - SEARCH_BYTES)
            file.seek(start)
            block = file.read(first - start + HEAD_BYTES)
            begun = [head for head in HEAD.finditer(block) if head.start() < first - start]
            for head in reversed(begun):
                attempt, host, began = (
                    head[name].decode() for name in ("attempt", "host", "began")
                )
                yield LogPart(attempt, host, start + head.end(), last, began)
                last = start + head.start()
            first = start


class LogTails:
    """The tails of the attempts in one log; no block of it is searched twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._older = parts_from_end(path)
        self._found: dict[str, LogPart] = {}

    def read_attempt_tail(self, attempt: str, lines: int) -> list[str]:
        """The last lines of an attempt, without control characters; empty if it wrote nothing."""
        while attempt not in self._found and (part := next(self._older, None)):
            # The newest part of an attempt is used.
            self._found.setdefault(part.attempt, part)
        found = self._found.get(attempt)
        return read_tail(self.path, found, lines) if found else []


def read_attempt_tail(path: Path, attempt: str, lines: int) -> list[str]:
    """The last lines of an attempt, without control characters; empty if it wrote nothing."""
    return LogTails(path).read_attempt_tail(attempt, lines)


def whole_log(path: Path) -> LogPart:
    """A whole log as one part, for logs without headers, e.g. that of a gate."""
    return LogPart("", "", 0, path.stat().st_size)


def read_tail(path: Path, part: LogPart, lines: int) -> list[str]:
    """The last lines of a part, without control characters; reads the file from its end."""
    first, newlines, blocks = part.last, 0, []
    # A progress bar may be a single line of gigabytes.
    bound = max(part.first, part.last - lines * BLOCK_BYTES)
    with path.open("rb") as file:
        while first > bound and newlines <= lines:
            last, first = first, max(bound, first - BLOCK_BYTES)
            file.seek(first)
            blocks.append(file.read(last - first))
            newlines += blocks[-1].count(b"\n")
    text = b"".join(reversed(blocks))
    found = text.decode(errors="replace").split("\n")
    found = found[:-1] if found[-1] == "" else found
    return [clean_line(line) for line in found[len(found) - min(lines, len(found)) :]]


def read_new_lines(file: BinaryIO) -> Iterator[str]:
    """Yield complete lines written since the last call, without control characters."""
    while True:
        at = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(at)
            return
        yield clean_line(line[:-1].decode(errors="replace"))


def clean_line(line: str) -> str:
    """A line as a terminal finally shows it, without escape and control characters."""
    visible = next((part for part in reversed(line.split("\r")) if part.strip()), "")
    return CONTROL.sub("", ESCAPE.sub("", visible))
