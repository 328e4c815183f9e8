"""Adapt every row of an input to a conversation or pair, or record why it is rejected.

`peek_kind` adapts only the first rows, on the login node, to check that the data exists and fits.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.data.corpus.messages import MessageFields
from hala_hpc.data.corpus.reader import Kind, Row
from hala_hpc.data.ingest.code_rows import CodeRows
from hala_hpc.data.ingest.damage import damage_row
from hala_hpc.data.ingest.damage_settings import Damage
from hala_hpc.data.ingest.quality_settings import QUALITY_REASONS
from hala_hpc.data.ingest.row_language import WantedLanguages
from hala_hpc.data.readers.adapters import (
    Adapter,
    LanguagePair,
    build_adapters,
    compute_row_digest,
    describe_adapters,
    find_adapter,
)
from hala_hpc.data.readers.data_files import ARROW_SUFFIXES, data_suffix, disk_file
from hala_hpc.data.readers.records import InputRecord
from hala_hpc.data.readers.row_values import RowError
from hala_hpc.data.readers.sources import (
    DatasetSelection,
    DataSource,
    find_sources,
    require_hub_id,
)
from hala_hpc.data.readers.turns import TurnRules

#: A fenced block of code; one without an end extends to the end of the text.
FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
#: Rows of each file that are read to choose its adapter.
PEEK_ROWS = 200
#: Upper bound of their characters, for long rows.
PEEK_CHARACTERS = 1_000_000
#: Usual names of questions and answers, for the suggestion to rename fields.
QUESTIONS = {"prompt", "question", "query", "problem", "instruction", "input", "user"}
ANSWERS = {"completion", "response", "answer", "solution", "output", "reply", "assistant"}
#: Rejections that the user asked for: they say nothing about the quality of the data.
EXPECTED_REASONS = {"duplicate", "code", "dropped", "other-language", "tool-use", *QUALITY_REASONS}
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
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
    turn_rules: TurnRules = field(default_factory=TurnRules)
    damage: Damage = field(default_factory=Damage)
    domain: str = ""
    """Domain of all rows."""
    domain_field: str = ""
    """Field of the data with the domain of a row, before renaming."""

    @property
    def has_extra_columns(self) -> bool:
        """Whether rows get something beside their texts, so that each must be read by itself."""
        return bool(self.damage.share or self.domain or self.domain_field)

    def domain_of(self, row: Row) -> str | None:
        """The domain of a row; None if it has none."""
        return value_text(row.get(self.domain_field)) if self.domain_field else self.domain or None

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        """All adapters by name."""
        return build_adapters(self.languages, self.turn_rules)

    @property
    def named_fields(self) -> tuple[str, ...]:
        """The fields of the data that the settings name."""
        found = (*self.rename, *self.drop, self.wanted.field, self.domain_field)
        return tuple(name for name in found if name)

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
        return any(value_text(row.get(name)) in values for name, values in self.drop.items())


def value_text(value: Any) -> str | None:
    """Return a value as the settings name it: text, or a number, `true` or `false` as in JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


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
    fields: Sequence[MessageFields] = ()
    tools: str = ""
    domain: str | None = None
    damage: str | None = None
    """Kind of the damage that its translation got."""


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
    adapter = find_adapter(rows, row_format.rows, row_format.adapters)
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
            f"{start}can be read ({reasons}; the first is row {head[0].line})"
            f"{hint_for_reasons({record.reason for record in head})}",
            BAD_DATA,
        )
    fields = Counter(name for row in rows for name in row)
    names = ", ".join(map(printable, sorted(map(str, fields))[:20])) or "none"
    if "translation" in fields:
        inner = {str(key) for row in rows for key in languages_in(row)}
        names += f" (translation has {', '.join(sorted(inner)[:20])})"
    wanted = "fits an adapter"
    if row_format.rows != "auto":
        fields_of_adapter = row_format.adapters[row_format.rows].fields
        wanted = f"has the fields of rows={row_format.rows} ({fields_of_adapter})"
    return UserError(
        f"{start}{wanted}; they have the fields: {names}. Adapters: "
        f"{describe_adapters(row_format.languages)}. Fields with other names: "
        f"{suggest_rename(rows)}. If this file holds no rows, list the other files in `data`",
        BAD_DATA,
    )


def hint_for_reasons(reasons: set[str]) -> str:
    """Return what helps against rows that cannot be read for these reasons; "" if unknown."""
    hints = {
        "bad-utf8": 'set the encoding of the files, for example encoding = "cp1256"',
        "not-an-object": "each row must be an object with named fields, or an array of turns with "
        "role and content",
        "open-quote": 'set quoting = "none" if quotation marks belong to the text',
        "unknown-role": 'name the roles, for example role_names = { narrator = "system" }',
        "bad-tool-call": 'leave rows with tools out by tool_use = "reject"',
        "bad-tools": 'leave rows with tools out by tool_use = "reject"',
        "wrong-columns": 'set the separator, for example separator = ";"',
    }
    texts = dict.fromkeys(text for reason, text in hints.items() if reason in reasons)
    return f"; {'; '.join(texts)}" if texts else ""


def suggest_rename(rows: Sequence[Row]) -> str:
    """Suggest a setting, valid TOML, that renames two fields with texts to those of a question."""
    names = [
        name
        for name in dict.fromkeys(str(name) for row in rows for name in row)
        if name and any(isinstance(row.get(name), str) for row in rows)
    ]
    question, answer = [*names, "my_question", "my_answer"][:2]
    if len(names) < 2:
        question, answer = "my_question", "my_answer"
    answers = [name for name in names if name.lower() in ANSWERS and name != question]
    answer = answers[0] if answers else answer
    questions = [name for name in names if name.lower() in QUESTIONS and name != answer]
    question = questions[0] if questions else question
    return f'rename = {{ {toml_key(question)} = "instruction", {toml_key(answer)} = "output" }}'


def toml_key(name: str) -> str:
    """Format a name as a TOML key."""
    return (
        name if BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=not name.isprintable())
    )


def printable(name: str) -> str:
    """Return a name that is safe on a terminal."""
    return name if name.isprintable() else ascii(name)


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
    row_named = row_format.renamed(row) if row_format.rename else row
    if row_format.rows == "auto" and not adapter.fits(row_named):
        # Columns that are null in a row are absent from it: other columns may hold its texts.
        other = find_adapter([row_named], "auto", row_format.adapters)
        adapter = other if other and other.kind == adapter.kind else adapter
    try:
        content, damage = damage_row(adapter.read(row_named), row, row_format.damage)
        name, size = compute_row_digest(*content)
    except RowError as error:
        return AdaptedRow(origin, str(error))
    reason = ""
    if row_format.drop_code != "no" and is_code(row_format.drop_code, content.roles, content.texts):
        reason = "code"
    elif row_format.wanted.excludes(row, content.roles, content.texts):
        reason = "other-language"
    domain = row_format.domain_of(row)
    return AdaptedRow(origin, reason, name, size, *content, domain, damage or None)


def is_code(which: CodeRows, roles: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether a row has a fenced code block; with `only`, whether its answers are nothing else."""
    if not any("```" in text for text in texts):
        return False
    answers = [text for role, text in zip(roles, texts, strict=False) if role == "assistant"]
    # An answer that only calls a tool has no text.
    written = [text for text in answers if text] or texts
    return which == "fenced" or all(not FENCED.sub("", text).strip() for text in written)


def peek_kind(path: str, selection: DatasetSelection, row_format: RowFormat) -> Kind | None:
    """Check the data at a local path, or the form of a hub id; return the kind of rows if known.

    Raises: UserError (NO_INPUT) if a file is missing or unreadable, UserError (BAD_DATA) if the
    data is empty or fits no adapter.
    """
    if not Path(path).exists():
        require_hub_id(path)
        return None
    found = find_sources(path, selection)
    files = [disk_file(Path(source.where)) for source in found]
    if not any(file.stat().st_size for file in files):
        raise UserError(f"data {path}: is empty, there are no rows to prepare", BAD_DATA)
    for file in files:
        check_access(file)
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

    None for Parquet, Arrow and Zstandard: reading them needs libraries that a login node may lack.
    """
    for source in found:
        path_of_source = Path(source.where)
        if data_suffix(path_of_source) in ARROW_SUFFIXES or path_of_source.suffix.lower() == ".zst":
            return None
        if (adapter := match_adapter(source, row_format)[0]) is not None:
            return adapter.kind
    raise UserError(f"data {path}: is empty, there are no rows to prepare", BAD_DATA)
