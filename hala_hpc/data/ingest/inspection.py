"""Look at the first rows of some data: fields, roles, languages, lengths, and what is rejected."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

from hala_hpc.core.errors import UserError
from hala_hpc.data.corpus.reader import Kind, Row
from hala_hpc.data.ingest.adapt import AdaptedRow, RowFormat, adapt_row, match_adapters
from hala_hpc.data.ingest.named_fields import NamedFields
from hala_hpc.data.readers.adapters import LISTS, Adapter
from hala_hpc.data.readers.records import InputRecord
from hala_hpc.data.readers.sources import DataSource
from hala_hpc.data.text.language import LanguageDetector

#: Accepted rows that are shown.
SHOWN_ROWS = 10
#: The language of texts is detected in the first rows, then in one row of some.
DETECTED_ROWS, DETECTED_STRIDE = 5_000, 20
#: Characters of a text whose language is detected.
DETECTED_CHARACTERS = 200
#: Language of a text that is too short, or of which the model is uncertain.
UNKNOWN = "unknown"
#: Names of the two texts of a pair.
SIDES = ("source", "target")


@dataclass
class FieldFacts:
    """A field of the rows."""

    rows: int = 0
    """Rows in which it is not null."""
    types: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ShownRow:
    """An accepted row: the roles and texts of its messages."""

    where: str
    line: int
    roles: Sequence[str]
    texts: Sequence[str]


@dataclass
class Inspection:
    """What the rows that were read hold."""

    kind: Kind | None = None
    formats: Counter[str] = field(default_factory=Counter)
    """Rows by the row format of their file."""
    rows: int = 0
    is_whole: bool = True
    """Whether all rows were read."""
    fields: dict[str, FieldFacts] = field(default_factory=lambda: defaultdict(FieldFacts))
    turn_fields: Counter[str] = field(default_factory=Counter)
    """Fields of turns, in the rows whose languages are detected."""
    languages: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Texts by role or side, and language."""
    lengths: dict[str, "array[int]"] = field(default_factory=lambda: defaultdict(new_lengths))
    """Characters of each text of accepted rows by role or side."""
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, InputRecord] = field(default_factory=dict)
    shown: list[ShownRow] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    """Settings that name fields or values that no row has."""

    @property
    def accepted(self) -> int:
        """Rows that would be prepared."""
        return self.rows - self.rejected.total()


def new_lengths() -> "array[int]":
    """Return an empty array of lengths."""
    return array("Q")


class RowInspector:
    """Reads rows and records what they hold."""

    def __init__(self, row_format: RowFormat) -> None:
        self.row_format = row_format
        self.found = Inspection()
        self._named = NamedFields()
        self._ids: set[bytes] = set()
        self._chance = Random(0)
        self._detector = LanguageDetector()

    def inspect(self, sources: Iterable[DataSource], limit: int) -> Inspection:
        """Read at most `limit` rows. Raises: UserError as `match_adapters` does."""
        for source, adapter, records in match_adapters(sources, self.row_format):
            self.found.kind = self.found.kind or adapter.kind
            left = limit - self.found.rows
            for record in islice(records, left):
                self._add(record, source.origin, adapter)
            if self.found.rows == limit:
                self.found.is_whole = next(records, None) is None
                if not self.found.is_whole:
                    break
        try:
            self._named.require_all(self.row_format, self.found.is_whole)
        except UserError as error:
            self.found.mistakes += error.mistakes
        return self.found

    def _add(self, record: InputRecord, origin: str, adapter: Adapter) -> None:
        found = self.found
        found.rows += 1
        found.formats[adapter.name] += 1
        is_sample = found.rows <= DETECTED_ROWS or found.rows % DETECTED_STRIDE == 0
        if record.value is not None:
            self._add_fields(record.value, is_sample)
        adapted = adapt_row(record, origin, adapter, self.row_format)
        reason = adapted.reason
        if not reason and adapted.id in self._ids:
            reason = "duplicate"
        if reason:
            found.rejected[reason] += 1
            found.first_rejected.setdefault(reason, record)
            return
        assert adapted.id is not None
        self._ids.add(adapted.id)
        self._add_texts(adapted, is_sample)
        self._show(record, adapted)

    def _add_fields(self, row: Row, is_sample: bool) -> None:
        for name, value in row.items():
            if value is not None:
                facts = self.found.fields[str(name)]
                facts.rows += 1
                facts.types[type(value).__name__] += 1
            else:
                self.found.fields[str(name)].types["null"] += 1
        if self.row_format.named_fields:
            self._named.add(row, self.row_format)
        if is_sample:
            turns: list[Any] = next(
                (row[name] for name in LISTS if isinstance(row.get(name), list)), []
            )
            for turn in turns:
                self.found.turn_fields.update(present_fields(turn))

    def _add_texts(self, adapted: AdaptedRow, is_sample: bool) -> None:
        for role, text in zip(adapted.roles or SIDES, adapted.texts, strict=True):
            self.found.lengths[role].append(len(text))
            if is_sample:
                language = self._detector.detect(text[:DETECTED_CHARACTERS]) or UNKNOWN
                self.found.languages[role][language] += 1

    def _show(self, record: InputRecord, adapted: AdaptedRow) -> None:
        """Choose rows to show, each accepted row as likely as any other."""
        shown, number = self.found.shown, len(self._ids)
        row = ShownRow(record.where, record.line, adapted.roles or SIDES, adapted.texts)
        if len(shown) < SHOWN_ROWS:
            shown.append(row)
        elif (place := self._chance.randrange(number)) < SHOWN_ROWS:
            shown[place] = row


def present_fields(turn: Any) -> list[str]:
    """Return the names of the fields of a turn that are not null."""
    if not isinstance(turn, dict):
        return []
    return [str(name) for name, value in turn.items() if value is not None]
