"""Read CSV and TSV files whose first line has the names of the columns.

A row of TSV is a line. In CSV a row may have several lines, but an open quote that includes other
rows must be detected: see `read_quoted_row`. The module csv splits the fields; which lines belong
to a row is decided here, as csv.Sniffer guesses from letters and no reader compares the lines of a
row with its columns.
"""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.data.readers.records import ROW_BYTES, InputRecord
from hala_hpc.data.readers.text_files import PLAIN_TEXT, Quoting, TextFormat, open_text

#: Separators that are tried in the first line, in this order.
SEPARATORS = (",", ";", "\t", "|")
TSV_SUFFIXES = {".tsv", ".tab"}
#: The line that Excel writes above the column names.
EXCEL_LINE = "sep="
QUOTE = '"'


class PhysicalLines:
    """The lines of a file with their numbers; lines can be put back."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._returned: deque[str] = deque()
        self.number = 0
        """Number of the last line that was read, from 1."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else self._file.readline(ROW_BYTES)
        if not line:
            raise StopIteration
        self.number += 1
        return line

    def skip_rest(self) -> None:
        """Read to the end of a line of which only the start was read."""
        while (rest := self._file.readline(ROW_BYTES)) and not rest.endswith(("\n", "\r")):
            pass

    def put_back(self, lines: list[str]) -> None:
        """Return lines to be read again, in order."""
        self._returned.extendleft(reversed(lines))
        self.number -= len(lines)


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a file, and how its lines are split."""

    names: tuple[str, ...]
    separator: str
    is_tsv: bool
    quoting: Quoting


def csv_file(path: Path, text_format: TextFormat = PLAIN_TEXT) -> Iterator[InputRecord]:
    """Read the rows of a CSV or TSV file.

    Raises: UserError (BAD_DATA) if two columns have one name.
    """
    csv.field_size_limit(ROW_BYTES)
    with open_text(path, text_format.encoding) as file:
        lines = PhysicalLines(file)
        columns = read_columns(lines, path, text_format)
        if columns is None:
            return
        for line in lines:
            if len(line) == ROW_BYTES and not line.endswith(("\n", "\r")):
                lines.skip_rest()
                yield InputRecord(str(path), lines.number, line[:1000], None, "too-long")
            elif not line.isspace():
                number = lines.number
                fields = read_fields(line, lines, columns)
                yield csv_record(str(path), number, columns, line if fields is None else fields)


def read_columns(lines: PhysicalLines, path: Path, text_format: TextFormat) -> Columns | None:
    """Read the first line that is not blank; None if there is none.

    Raises: UserError (BAD_DATA) if two columns have one name.
    """
    header = next((line for line in lines if not line.isspace()), "")
    separator = text_format.separator
    if header.startswith(EXCEL_LINE) and len(header.strip("\r\n")) == len(EXCEL_LINE) + 1:
        separator = separator or header[len(EXCEL_LINE)]
        header = next((line for line in lines if not line.isspace()), "")
    if not header:
        return None
    is_named_tsv = bool(TSV_SUFFIXES & {suffix.lower() for suffix in path.suffixes})
    separator = separator or find_separator(header, is_named_tsv)
    names = tuple(split_quoted(header, separator) or split_plain(header, separator))
    for name in names:
        if name and names.count(name) > 1:
            raise repeated_column_error(str(path), name)
    is_tsv = separator == "\t"
    quoting = text_format.quoting
    if is_tsv and quoting == "auto" and all(map(is_quoted, split_plain(header, separator))):
        # A writer that puts all names in quotation marks puts all fields in them.
        quoting = "csv"
    return Columns(names, separator, is_tsv, quoting)


def repeated_column_error(where: str, name: str) -> UserError:
    """Make the error for two columns of one name, of which none can be preferred."""
    return UserError(
        f"data file {where}: two of its columns are named {name!r}, so it is unknown which one to "
        "read; write the file with another name for one of them",
        BAD_DATA,
    )


def find_separator(header: str, is_named_tsv: bool) -> str:
    """Return the separator of the first line: the first one that makes two columns of it."""
    tried = ("\t", *SEPARATORS) if is_named_tsv else SEPARATORS
    found = (each for each in tried if len(split_quoted(header, each) or ()) > 1)
    return next(found, tried[0])


def read_fields(line: str, lines: PhysicalLines, columns: Columns) -> list[str] | None:
    """Return the fields of the row that begins with a line; None for an open quote."""
    if QUOTE not in line or columns.quoting == "none":
        return split_plain(line, columns.separator)
    if not columns.is_tsv:
        return read_quoted_row(line, lines, columns)
    if columns.quoting == "csv":
        # An odd number of quotes: a field continues in the next line or comes from the last one.
        return None if line.count(QUOTE) % 2 else split_quoted(line, columns.separator)
    return [undo_quotes(field) for field in split_plain(line, columns.separator)]


def read_quoted_row(first: str, lines: PhysicalLines, columns: Columns) -> list[str] | None:
    """Return the fields of a row of CSV with quotation marks, which may have several lines.

    None, and only the first line is used up, if the quote is never closed, if it is closed in the
    middle of a field of a later line, or if each line has as many fields as there are columns:
    then the lines are rows and the quote belongs to the text. The last rule is left out for the
    quoting `csv`.
    """
    taken, is_at_end = [first], False

    def supply() -> Iterator[str]:
        nonlocal is_at_end
        yield first
        size = len(first)
        for line in lines:
            taken.append(line)
            yield line
            if (size := size + len(line)) > ROW_BYTES:
                break
        is_at_end = True

    try:
        fields = next(csv.reader(supply(), delimiter=columns.separator, strict=True))
    except csv.Error:
        lines.put_back(taken[1:])
        plain = split_plain(first, columns.separator)
        is_literal = len(taken) == 1 and not is_at_end and len(plain) == len(columns.names)
        return plain if is_literal else None
    if len(taken) > 1 and columns.quoting == "auto" and are_rows(taken, columns):
        lines.put_back(taken[1:])
        return None
    return fields


def are_rows(lines: list[str], columns: Columns) -> bool:
    """Whether each of some lines would be a row if quotation marks were letters."""
    count = len(columns.names)
    return count > 1 and all(len(split_plain(line, columns.separator)) == count for line in lines)


def split_plain(line: str, separator: str) -> list[str]:
    """Split a line at every separator."""
    return line.rstrip("\r\n").split(separator)


def split_quoted(line: str, separator: str) -> list[str] | None:
    """Split a line whose fields may be in quotation marks; None if one is not closed in it."""
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=separator, strict=True), [])
    except csv.Error:
        return None


def is_quoted(field: str) -> bool:
    """Whether a field is in quotation marks."""
    return len(field) > 1 and field.startswith(QUOTE) and field.endswith(QUOTE)


def undo_quotes(field: str) -> str:
    """Undo the quotation marks of a field of TSV if doubled ones within it prove that they were
    added by a writer of CSV.
    """
    inner = field[1:-1]
    if not is_quoted(field) or QUOTE not in inner or QUOTE in inner.replace(QUOTE * 2, ""):
        return field
    return inner.replace(QUOTE * 2, QUOTE)


def csv_record(where: str, line: int, columns: Columns, fields: list[str] | str) -> InputRecord:
    """Return the record of the fields of a row, or of its first line if a quote is open."""
    if isinstance(fields, str):
        return InputRecord(where, line, fields.rstrip("\r\n"), None, "open-quote")
    names = columns.names
    row: dict[str, Any] = dict(zip(names, fields, strict=False))
    if len(fields) != len(names):
        raw = row | dict.fromkeys(names[len(fields) :])
        if len(fields) > len(names):
            raw["more"] = fields[len(names) :]
        return InputRecord(where, line, raw, None, "wrong-columns")
    try:
        "".join(fields).encode()
    except UnicodeEncodeError:
        return InputRecord(where, line, row, None, "bad-utf8")
    return InputRecord(where, line, row, row)
