"""Adapt every row of an input to a conversation or pair, or record why it is rejected.

`peek_kind` adapts only the first rows, on the login node, to check that the data exists and fits.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.data.corpus.reader import Kind, Row
from hala_hpc.data.ingest.code_rows import CodeRows
from hala_hpc.data.ingest.row_language import WantedLanguages
from hala_hpc.data.readers.adapters import (
    Adapter,
    LanguagePair,
    RowError,
    build_adapters,
    compute_row_digest,
    describe_adapters,
    find_adapter,
)
from hala_hpc.data.readers.records import InputRecord
from hala_hpc.data.readers.sources import (
    DatasetSelection,
    DataSource,
    data_suffix,
    find_sources,
    require_hub_id,
)

#: A fenced block of code; one without an end extends to the end of the text.
FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
#: Rows of each file that are read to choose its adapter.
PEEK_ROWS = 200
#: Upper bound of their characters, for long rows.
PEEK_CHARACTERS = 1_000_000
#: First and last bytes of a Parquet file.
PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class RowFormat:
    """The settings that say how rows are read."""

    rows: str
    """Name of an adapter, or `auto`."""
    languages: LanguagePair
    rename: Mapping[str, str] = field(default_factory=dict)
    """Maps names of fields in the data to the names that the adapter expects."""
    drop: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Maps fields, before renaming, to the values whose rows are dropped."""
    drop_code: CodeRows = "no"
    wanted: WantedLanguages = field(default_factory=WantedLanguages)

    def renamed(self, row: Row) -> Row:
        """Return a row with the field names of the adapter."""
        if not self.rename:
            return row
        return {
            **{name: value for name, value in row.items() if name not in self.rename},
            **{new: row[old] for old, new in self.rename.items() if old in row},
        }

    def unwanted(self, row: Row) -> bool:
        """Whether a row has a value that is to be dropped."""
        return any(row.get(name) in values for name, values in self.drop.items())


class AdaptedRow(NamedTuple):
    """One adapted input row; `reason` is empty if the row is accepted."""

    origin: str
    reason: str
    id: bytes | None = None
    """Content hash, for rows that could be adapted."""
    size: int = 0
    """Bytes of its texts."""
    roles: Sequence[str] = ()
    texts: Sequence[str] = ()


def match_adapters(
    found: Iterable[DataSource], row_format: RowFormat
) -> Iterator[tuple[DataSource, Adapter, Iterator[InputRecord]]]:
    """Yield the sources that have rows, each with its adapter and all its records.

    Raises: UserError (BAD_DATA) if no adapter fits a source, or if its kind of rows differs from
    that of the first source.
    """
    first: tuple[str, Kind] | None = None
    for source in found:
        adapter, records = match_adapter(source, row_format)
        if adapter is None:
            continue
        first = first or (source.where, adapter.kind)
        if adapter.kind != first[1]:
            raise UserError(
                f"data: {first[0]} holds {first[1]}, but {source.where} holds {adapter.kind} "
                f"(read as {adapter.name}); use one node for each",
                BAD_DATA,
            )
        yield source, adapter, records


def match_adapter(
    source: DataSource, row_format: RowFormat
) -> tuple[Adapter | None, Iterator[InputRecord]]:
    """Return the adapter of a source and all its records; no adapter if there are no rows.

    Raises: UserError (BAD_DATA) if none of the first rows has the required fields.
    """
    records = source.read()
    head = first_rows(records)
    rows = [row_format.renamed(record.value) for record in head if record.value is not None]
    adapter = find_adapter(rows, row_format.rows, row_format.languages)
    if head and adapter is None:
        raise no_adapter_error(source, head, row_format)
    return adapter, chain(head, records)


def first_rows(records: Iterator[InputRecord]) -> list[InputRecord]:
    """Read enough rows to choose the adapter, and few enough for a login node."""
    head: list[InputRecord] = []
    characters = 0
    for record in islice(records, PEEK_ROWS):
        head.append(record)
        characters += len(record.raw) if isinstance(record.raw, str | bytes) else 0
        if characters > PEEK_CHARACTERS:
            break
    return head


def no_adapter_error(
    source: DataSource, head: list[InputRecord], row_format: RowFormat
) -> UserError:
    """Make the error that names the fields found and the available adapters."""
    start = f"data {source.where}: none of its first {len(head)} rows "
    rows = [record.value for record in head if record.value is not None]
    if not rows:
        reasons = ", ".join(
            f"{reason} {count}" for reason, count in Counter(r.reason for r in head).items()
        )
        return UserError(
            f"{start}can be read ({reasons}; the first is row {head[0].line})", BAD_DATA
        )
    fields = Counter(name for row in rows for name in row)
    names = ", ".join(sorted(map(str, fields))[:20]) or "none"
    if "translation" in fields:
        inner = {str(key) for row in rows for key in languages_in(row)}
        names += f" (translation has {', '.join(sorted(inner)[:20])})"
    wanted = "fits an adapter"
    if row_format.rows != "auto":
        fields_of_adapter = build_adapters(row_format.languages)[row_format.rows].fields
        wanted = f"has the fields of rows={row_format.rows} ({fields_of_adapter})"
    return UserError(
        f"{start}{wanted}; they have the fields: {names}. Adapters: "
        f"{describe_adapters(row_format.languages)}. Fields with other names: "
        f'rename = {{ {min(map(str, fields), default="my_field")} = "instruction" }}',
        BAD_DATA,
    )


def languages_in(row: Row) -> Iterable[str]:
    """Return the languages of an OPUS row; empty for other formats."""
    translation = row.get("translation")
    return translation.keys() if isinstance(translation, dict) else ()


def adapt_row(
    record: InputRecord, origin: str, adapter: Adapter, row_format: RowFormat
) -> AdaptedRow:
    """Adapt one row and compute its id."""
    row = record.value
    if row is None:
        return AdaptedRow(origin, record.reason)
    row_origin = row.get("origin")
    if isinstance(row_origin, str) and row_origin and row_origin.isprintable():
        origin = row_origin
    if row_format.drop and row_format.unwanted(row):
        return AdaptedRow(origin, "dropped")
    try:
        roles, texts = adapter.read(row_format.renamed(row) if row_format.rename else row)
        name, size = compute_row_digest(roles, texts)
    except RowError as error:
        return AdaptedRow(origin, str(error))
    reason = ""
    if row_format.drop_code != "no" and is_code(row_format.drop_code, roles, texts):
        reason = "code"
    elif row_format.wanted.excludes(row, roles, texts):
        reason = "other-language"
    return AdaptedRow(origin, reason, name, size, roles, texts)


def is_code(which: CodeRows, roles: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether a row has a fenced code block; with `only`, whether its answers are nothing else."""
    if not any("```" in text for text in texts):
        return False
    answers = [text for role, text in zip(roles, texts, strict=False) if role == "assistant"]
    return which == "fenced" or all(not FENCED.sub("", text).strip() for text in answers or texts)


def peek_kind(path: str, selection: DatasetSelection, row_format: RowFormat) -> Kind | None:
    """Check the data at a local path, or the form of a hub id; return the kind of rows if known.

    Raises: UserError (NO_INPUT) if a file is missing or unreadable, UserError (BAD_DATA) if the
    data is empty or fits no adapter.
    """
    if not Path(path).exists():
        require_hub_id(path)
        return None
    found = find_sources(path, selection)
    if not any(Path(source.where).stat().st_size for source in found):
        raise UserError(f"data {path}: is empty, there are no rows to prepare", BAD_DATA)
    for source in found:
        check_access(Path(source.where))
    return peek_rows(path, found, row_format)


def check_access(file: Path) -> None:
    """Check that a file can be opened and that a Parquet file is complete.

    Raises: UserError (NO_INPUT) if it cannot be opened, UserError (BAD_DATA) if a Parquet file is
    incomplete.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(4)
            if data_suffix(file) == ".parquet":
                opened.seek(-min(4, len(start)), 2)
                if not start == opened.read(4) == PARQUET_MAGIC:
                    raise UserError(
                        f"data file {file}: is not a complete Parquet file; copy it again",
                        BAD_DATA,
                    )
    except OSError as error:
        raise UserError(f"data file {file}: cannot be read: {error.strerror}", NO_INPUT) from error


def peek_rows(path: str, found: list[DataSource], row_format: RowFormat) -> Kind | None:
    """Return the kind of the rows of the first text file that has any.

    None for Parquet: reading it needs libraries that a login node may lack.
    """
    for source in found:
        if data_suffix(Path(source.where)) == ".parquet":
            return None
        if (adapter := match_adapter(source, row_format)[0]) is not None:
            return adapter.kind
    raise UserError(f"data {path}: is empty, there are no rows to prepare", BAD_DATA)
