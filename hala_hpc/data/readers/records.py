"""The record of one input row."""

import json
from pathlib import Path
from typing import Any, NamedTuple

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
    """Why there is no value: bad-utf8, corrupt-json, not-an-object, too-long, wrong-columns,
    open-quote."""

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
    return json_record(where, line, text, value)


def json_record(where: str, line: int, raw: Any, value: Any) -> InputRecord:
    """Return the record of a decoded JSON value; an array of turns is a conversation."""
    if isinstance(value, dict):
        return InputRecord(where, line, raw, value)
    if isinstance(value, list) and value and all(map(is_turn, value)):
        return InputRecord(where, line, raw, {"messages": value})
    return InputRecord(where, line, raw, None, "not-an-object")


def is_turn(value: Any) -> bool:
    """Whether a JSON value is a turn of a conversation."""
    return isinstance(value, dict) and ("role" in value or "from" in value)


def broken_file_error(path: Path, place: str, problem: str) -> UserError:
    """Make the error for a data file that cannot be read further."""
    return UserError(
        f"data file {path}: cannot be read after {place}: {problem}; repair the file or copy it "
        "again",
        BAD_DATA,
    )
