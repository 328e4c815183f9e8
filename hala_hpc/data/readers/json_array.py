"""Read the rows of JSON arrays in bounded memory."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from hala_hpc.data.readers.json_lines import json_lines
from hala_hpc.data.readers.records import (
    ROW_BYTES,
    InputRecord,
    broken_file_error,
    open_bytes,
    open_text,
    parse_json_record,
)

#: Characters of an array that are read at a time.
CHUNK_CHARACTERS = 1024 * 1024
BETWEEN = re.compile(r"[\s,]*")


def json_file(path: Path) -> Iterator[InputRecord]:
    """Read a JSON array, or JSON lines in a file named .json."""
    return json_array(path) if is_json_array(path) else json_lines(path)


def is_json_array(path: Path) -> bool:
    """Whether a file begins with `[` or is empty."""
    with open_bytes(path) as file:
        start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return start[:1] in (b"[", b"")


def json_array(path: Path) -> Iterator[InputRecord]:
    """Read the objects of one JSON array in bounded memory.

    ijson is not used: its fast backend replaces lone surrogates by question marks and does not
    keep the text of a row.

    Raises: UserError (BAD_DATA) if the array is malformed; the rows after that point cannot be
    separated.
    """
    with open_text(path) as file:
        for number, text in enumerate(array_texts(file, path), start=1):
            yield reject_bad_utf8(parse_json_record(str(path), number, text))


def array_texts(file: IO[str], path: Path) -> Iterator[str]:
    """Yield the text of each element of an array."""
    buffer, at, number = file.read(CHUNK_CHARACTERS).lstrip(), 1, 0
    while buffer:
        at = cast(re.Match[str], BETWEEN.match(buffer, at)).end()
        if buffer[at : at + 1] == "]":
            if (buffer[at + 1 :] + file.read(CHUNK_CHARACTERS)).strip():
                raise broken_file_error(
                    path, f"row {number}", "there is text after the end of the array"
                )
            return
        end = element_end(buffer, at)
        # A number that ends at the end of the buffer may continue in the next chunk.
        if end < len(buffer):
            yield buffer[at:end]
            at, number = end, number + 1
            continue
        # The buffer doubles each time, so that a long row is not parsed again for every chunk.
        more = file.read(max(CHUNK_CHARACTERS, len(buffer) - at))
        if not more or len(buffer) - at > ROW_BYTES:
            raise broken_file_error(
                path, f"row {number}", "the next element is not JSON, or the array has no end"
            )
        buffer, at = buffer[at:] + more, 0


def element_end(buffer: str, at: int) -> int:
    """Return the end of the element at `at`; the end of the buffer if it is incomplete."""
    try:
        return json.JSONDecoder().raw_decode(buffer, at)[1]
    except (ValueError, RecursionError):
        return len(buffer)


def reject_bad_utf8(record: InputRecord) -> InputRecord:
    """Return the record, with reason bad-utf8 and no value if its bytes were not UTF-8."""
    if record.raw.isascii():
        return record
    try:
        record.raw.encode()
    except UnicodeEncodeError:
        return InputRecord(record.where, record.line, record.raw, None, "bad-utf8")
    return record
