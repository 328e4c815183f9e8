"""Every row of an input, fitted to an adapter: what it says, or why it cannot be used.

`peek_kind` fits only the first rows, on the login node: is the data there, and can rows be made of it?
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

#: A fenced block of code; one that has no end goes to the end of the text.
FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
#: Rows of each file that are looked at to tell its adapter.
PEEK_ROWS = 200
#: Fewer when they are long, in characters.
PEEK_CHARACTERS = 1_000_000
#: First and last bytes of a Parquet file.
PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class RowFormat:
    """How rows are to be read."""

    rows: str
    """Name of an adapter, or `auto`."""
    languages: LanguagePair
    rename: Mapping[str, str] = field(default_factory=dict)
    """Fields of other names, and what the adapter calls them."""
    drop: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Fields, before renaming, and the values whose rows are not wanted."""
    drop_code: CodeRows = "no"
    wanted: WantedLanguages = field(default_factory=WantedLanguages)

    def renamed(self, row: Row) -> Row:
        """A row with the fields that the adapter knows."""
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
    """One row of the input, adapted: `reason` is empty for a good one."""

    origin: str
    reason: str
    id: bytes | None = None
    """Name by content, of rows that could be adapted."""
    size: int = 0
    """Bytes of its texts."""
    roles: Sequence[str] = ()
    texts: Sequence[str] = ()


def match_adapters(
    found: Iterable[DataSource], shape: RowFormat
) -> Iterator[tuple[DataSource, Adapter, Iterator[InputRecord]]]:
    """The sources that have rows, each with its adapter and all its records.

    Raises UserError 65 for a source that fits no adapter, or gives another kind than the first.
    """
    first: tuple[str, Kind] | None = None
    for source in found:
        adapter, records = match_adapter(source, shape)
        if adapter is None:
            continue
        first = first or (source.where, adapter.kind)
        if adapter.kind != first[1]:
            raise UserError(
                f"data: {first[0]} holds {first[1]}, but {source.where} holds {adapter.kind} "
                f"(read as {adapter.name}); make a node for each",
                BAD_DATA,
            )
        yield source, adapter, records


def match_adapter(
    source: DataSource, shape: RowFormat
) -> tuple[Adapter | None, Iterator[InputRecord]]:
    """The adapter of a source and all its records; no adapter where there are no rows.

    Raises UserError 65 when none of the first rows has the fields that are needed.
    """
    records = source.read()
    head = first_rows(records)
    rows = [shape.renamed(record.value) for record in head if record.value is not None]
    adapter = find_adapter(rows, shape.rows, shape.languages)
    if head and adapter is None:
        raise no_adapter_error(source, head, shape)
    return adapter, chain(head, records)


def first_rows(records: Iterator[InputRecord]) -> list[InputRecord]:
    """Enough rows to tell the adapter, and few enough for a login node."""
    head: list[InputRecord] = []
    characters = 0
    for record in islice(records, PEEK_ROWS):
        head.append(record)
        characters += len(record.raw) if isinstance(record.raw, str | bytes) else 0
        if characters > PEEK_CHARACTERS:
            break
    return head


def no_adapter_error(source: DataSource, head: list[InputRecord], shape: RowFormat) -> UserError:
    """The mistake that names the fields found and the adapters there are."""
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
        names += f" (translation holds {', '.join(sorted(inner)[:20])})"
    wanted = "fits an adapter"
    if shape.rows != "auto":
        wanted = f"has the fields of rows={shape.rows} ({build_adapters(shape.languages)[shape.rows].fields})"
    return UserError(
        f"{start}{wanted}; they have the fields: {names}. Adapters: "
        f"{describe_adapters(shape.languages)}. Fields with other names: "
        f'rename = {{ {min(map(str, fields), default="my_field")} = "instruction" }}',
        BAD_DATA,
    )


def languages_in(row: Row) -> Iterable[str]:
    """The languages of an OPUS row, none where it has another shape."""
    translation = row.get("translation")
    return translation.keys() if isinstance(translation, dict) else ()


def adapt_row(record: InputRecord, origin: str, adapter: Adapter, shape: RowFormat) -> AdaptedRow:
    """One row, adapted and named by its content."""
    row = record.value
    if row is None:
        return AdaptedRow(origin, record.reason)
    row_origin = row.get("origin")
    origin = (
        row_origin
        if isinstance(row_origin, str) and row_origin and row_origin.isprintable()
        else origin
    )
    if shape.drop and shape.unwanted(row):
        return AdaptedRow(origin, "dropped")
    try:
        roles, texts = adapter.read(shape.renamed(row) if shape.rename else row)
        name, size = compute_row_digest(roles, texts)
    except RowError as error:
        return AdaptedRow(origin, str(error))
    reason = ""
    if shape.drop_code != "no" and is_code(shape.drop_code, roles, texts):
        reason = "code"
    elif shape.wanted.excludes(row, roles, texts):
        reason = "other-language"
    return AdaptedRow(origin, reason, name, size, roles, texts)


def is_code(which: CodeRows, roles: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether a row has a fenced block of code, or with `only` whether its answers are no more."""
    if not any("```" in text for text in texts):
        return False
    answers = [text for role, text in zip(roles, texts, strict=False) if role == "assistant"]
    return which == "fenced" or all(not FENCED.sub("", text).strip() for text in answers or texts)


def peek_kind(path: str, choice: DatasetSelection, shape: RowFormat) -> Kind | None:
    """Look into a local path, or at the form of a hub id; the kind of its rows if that shows.

    Raises UserError 66 for what is missing or unreadable, 65 for empty files and rows that fit no
    adapter.
    """
    if not Path(path).exists():
        require_hub_id(path)
        return None
    found = find_sources(path, choice)
    if not any(Path(source.where).stat().st_size for source in found):
        raise UserError(f"data {path}: is empty, there are no rows to prepare", BAD_DATA)
    for source in found:
        check_access(Path(source.where))
    return peek_rows(path, found, shape)


def check_access(file: Path) -> None:
    """Raise UserError 66 when a file cannot be opened, 65 when it is a torn Parquet file."""
    try:
        with file.open("rb") as opened:
            start = opened.read(4)
            if data_suffix(file) == ".parquet":
                opened.seek(-min(4, len(start)), 2)
                if not start == opened.read(4) == PARQUET_MAGIC:
                    raise UserError(
                        f"data file {file}: is no whole Parquet file; copy it again", BAD_DATA
                    )
    except OSError as error:
        raise UserError(f"data file {file}: cannot be read: {error.strerror}", NO_INPUT) from error


def peek_rows(path: str, found: list[DataSource], shape: RowFormat) -> Kind | None:
    """Fit an adapter to the first text file that has rows, and tell their kind.

    Parquet is left to the job: reading it needs libraries that a login node does without.
    """
    for source in found:
        if data_suffix(Path(source.where)) == ".parquet":
            return None
        if (adapter := match_adapter(source, shape)[0]) is not None:
            return adapter.kind
    raise UserError(f"data {path}: is empty, there are no rows to prepare", BAD_DATA)
