"""Read the rows of JSON arrays, of objects one after another, and of a list within an object."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.data.readers.json_layout import JsonLayout, find_layout
from hala_hpc.data.readers.json_lines import json_lines
from hala_hpc.data.readers.records import (
    ROW_BYTES,
    InputRecord,
    broken_file_error,
    is_turn,
    parse_json_record,
)
from hala_hpc.data.readers.text_files import PLAIN_TEXT, TextFormat, open_text

#: Characters of an array that are read at a time.
CHUNK_CHARACTERS = 1024 * 1024
BETWEEN = re.compile(r"[\s,]*")


def json_file(path: Path, text_format: TextFormat = PLAIN_TEXT) -> Iterator[InputRecord]:
    """Read a JSON file of any layout, whatever its name."""
    found = find_layout(path, text_format)
    if found.layout == "lines":
        return json_lines(path, text_format)
    return json_elements(path, text_format, found)


def json_elements(path: Path, text_format: TextFormat, found: JsonLayout) -> Iterator[InputRecord]:
    """Read the objects of a file in bounded memory.

    ijson is not used: its fast backend replaces lone surrogates by question marks and does not
    return the text of a row.

    Raises: UserError (BAD_DATA) if the file is malformed; the rows after that point cannot be
    separated.
    """
    with open_text(path, text_format.encoding) as file:
        skip_characters(file, found.start)
        elements = JsonElements(file, path, found)
        for number, text in enumerate(elements.texts(), start=1):
            yield reject_bad_utf8(parse_json_record(str(path), number, text))


def skip_characters(file: IO[str], count: int) -> None:
    """Read over the first characters."""
    while count and (text := file.read(min(count, CHUNK_CHARACTERS))):
        count -= len(text)


@dataclass(frozen=True)
class JsonElements:
    """The elements of an array or a list, or objects one after another, from the first one on."""

    file: IO[str]
    path: Path
    found: JsonLayout

    def texts(self) -> Iterator[str]:
        """Yield the text of each element."""
        buffer, at, number = self.file.read(CHUNK_CHARACTERS), 0, 0
        while True:
            at = cast(re.Match[str], BETWEEN.match(buffer, at)).end()
            if at == len(buffer):
                buffer, at = self.file.read(CHUNK_CHARACTERS), 0
                if not buffer:
                    self._require_end(number)
                    return
                continue
            if buffer[at] == "]" and self.found.layout != "objects":
                self._check_rest(buffer[at + 1 :], number)
                return
            end = element_end(buffer, at)
            # A number that ends at the end of the buffer may continue in the next chunk.
            if end < len(buffer) or (self.found.layout == "objects" and is_whole(buffer, at)):
                yield buffer[at:end]
                at, number = end, number + 1
                continue
            # The buffer doubles each time, so that a long row is not parsed again for every chunk.
            more = self.file.read(max(CHUNK_CHARACTERS, len(buffer) - at))
            if not more or len(buffer) - at > ROW_BYTES:
                raise self._error(number, "the next element is not JSON, or the array has no end")
            buffer, at = buffer[at:] + more, 0

    def _require_end(self, number: int) -> None:
        """Check that the file may end here."""
        if self.found.layout != "objects" and (number or self.found.start):
            raise self._error(number, "the next element is not JSON, or the array has no end")

    def _check_rest(self, rest: str, number: int) -> None:
        """Check what follows the last element: nothing, or other fields without rows."""
        rest += self.file.read(ROW_BYTES)
        if self.found.layout == "array":
            if rest.strip():
                raise self._error(number, "there is text after the end of the array")
            return
        try:
            others = json.loads('{"": 0' + rest)
        except (ValueError, RecursionError) as error:
            raise self._error(number, "the object around the list has no end") from error
        for name, value in others.items():
            first = value[0] if isinstance(value, list) and value else None
            if isinstance(first, dict) and not is_turn(first):
                raise second_list_error(self.path, name)

    def _error(self, number: int, problem: str) -> UserError:
        return broken_file_error(self.path, f"row {number}", problem)


def second_list_error(path: Path, name: str) -> UserError:
    """Make the error for an object with several lists of rows."""
    return UserError(
        f"data file {path}: is one object with several lists of objects, {name!r} is the second; "
        "write each list that is to be read to a file of its own, for example with "
        f"`jq -c '.[\"{name}\"][]' {path.name} > {path.stem}-rows.jsonl`",
        BAD_DATA,
    )


def element_end(buffer: str, at: int) -> int:
    """Return the end of the element at `at`; the end of the buffer if it is incomplete."""
    try:
        return json.JSONDecoder().raw_decode(buffer, at)[1]
    except (ValueError, RecursionError):
        return len(buffer)


def is_whole(buffer: str, at: int) -> bool:
    """Whether the rest of a buffer is a whole JSON value."""
    try:
        json.loads(buffer[at:])
    except (ValueError, RecursionError):
        return False
    return True


def reject_bad_utf8(record: InputRecord) -> InputRecord:
    """Return the record, with reason bad-utf8 and no value if its bytes were not UTF-8."""
    if record.raw.isascii():
        return record
    try:
        record.raw.encode()
    except UnicodeEncodeError:
        return InputRecord(record.where, record.line, record.raw, None, "bad-utf8")
    return record
