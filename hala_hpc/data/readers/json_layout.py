"""Detect the layout of a JSON file: rows on lines, in one array, as objects, in one object."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hala_hpc.data.readers.records import ROW_BYTES, is_turn
from hala_hpc.data.readers.text_files import PLAIN_TEXT, TextFormat, open_text

Layout = Literal["lines", "array", "objects", "list"]
#: Characters that are read first; most files show their layout in them.
HEAD_CHARACTERS = 64 * 1024
BLANKS = re.compile(r"[\s,]*")
#: Fields of rows of known formats: an object that has one of them is a row.
ROW_FIELDS = {"instruction", "output", "question", "response", "prompt", "completion"} | {
    "translation",
    "messages",
    "source",
    "target",
}


@dataclass(frozen=True)
class JsonLayout:
    """The layout of a file."""

    layout: Layout
    start: int = 0
    """Characters before the first row, or before the first bracket of a list."""


def find_layout(path: Path, text_format: TextFormat = PLAIN_TEXT) -> JsonLayout:
    """Return the layout of a JSON file; `lines` also for an unknown one."""
    with open_text(path, text_format.encoding) as file:
        text = file.read(HEAD_CHARACTERS)
        while not text.strip() and (more := file.read(HEAD_CHARACTERS)):
            text = more if len(text) > ROW_BYTES else text + more
        found = judge(text)
        if found is None:
            text += file.read(ROW_BYTES)
            found = judge(text, is_all=True)
    return found or JsonLayout("lines")


def judge(text: str, is_all: bool = False) -> JsonLayout | None:
    """Return the layout by the start of a file; None if more of it must be read.

    With `is_all` the start is the whole file.
    """
    start = text.lstrip()
    if not start:
        return JsonLayout("array")
    if start[0] not in "[{" or has_whole_lines(start):
        return JsonLayout("lines")
    at = len(text) - len(start)
    if start[0] == "[":
        return JsonLayout("array", at + 1)
    if (listed := find_list(start)) is not None:
        return JsonLayout("list", at + listed)
    end = find_end(start)
    if end is None:
        return JsonLayout("lines") if is_all or len(text) < HEAD_CHARACTERS else None
    # One object with nothing after it is a row as well.
    is_line = "\n" not in start[:end] and not start[end:].strip()
    return JsonLayout("lines") if is_line else JsonLayout("objects", at)


def has_whole_lines(start: str) -> bool:
    """Whether the first lines are JSON values of their own."""
    first, *others = start.split("\n", 3)
    others = [line for line in others if line.strip()]
    if is_json(first) and others:
        return True
    # After a first line that is cut off the others are complete; within an array a comma ends them.
    return len(others) > 1 and all(is_object(line) for line in others[:2])


def is_json(line: str) -> bool:
    """Whether a line is a whole JSON value."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def is_object(line: str) -> bool:
    """Whether a line is a whole JSON object."""
    return line.lstrip().startswith("{") and is_json(line)


def find_end(text: str) -> int | None:
    """Return the end of the JSON value that a text begins with; None if it is incomplete."""
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except (ValueError, RecursionError):
        return None


def find_list(text: str) -> int | None:
    """Return where the list of rows begins in an object; None if there is none.

    Its first element is an object and not a turn: an object with a list of turns is a row.
    """
    decoder, at = json.JSONDecoder(), 1
    try:
        while True:
            name, at = decoder.raw_decode(text, skip_blanks(text, at))
            at = skip_blanks(text, at)
            if not isinstance(name, str) or name in ROW_FIELDS or text[at] != ":":
                return None
            at = skip_blanks(text, at + 1)
            if text[at] == "[" and text[skip_blanks(text, at + 1)] == "{":
                first, _ = decoder.raw_decode(text, skip_blanks(text, at + 1))
                if not is_turn(first):
                    return at + 1
            at = decoder.raw_decode(text, at)[1]
    except (ValueError, IndexError, RecursionError):
        return None


def skip_blanks(text: str, at: int) -> int:
    """Return the next place with anything but blanks and commas."""
    found = BLANKS.match(text, at)
    return found.end() if found else at
