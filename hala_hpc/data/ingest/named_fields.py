"""Find fields and values that the settings name and that no row has: a mistake of the user."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.data.corpus.reader import Row

if TYPE_CHECKING:
    from hala_hpc.data.ingest.adapt import RowFormat

#: Fields of the data that are listed in a message.
LISTED_FIELDS = 20


@dataclass
class NamedFields:
    """What the settings name and rows were found to have, and the fields that rows have."""

    fields: set[str] = field(default_factory=set)
    values: set[tuple[str, str]] = field(default_factory=set)
    """Fields of `drop` with the values that rows have of those that are dropped."""
    present: set[str] = field(default_factory=set)
    """Fields of the first rows, for messages."""

    def add(self, row: Row, row_format: "RowFormat") -> None:
        """Take note of what a row has."""
        from hala_hpc.data.ingest.adapt import value_text

        self.fields.update(name for name in row_format.named_fields if name in row)
        for name, values in row_format.drop.items():
            if (text := value_text(row.get(name))) in values and text is not None:
                self.values.add((name, text))
        if len(self.present) < LISTED_FIELDS:
            self.present.update(map(str, row))

    def merge(self, others: Iterable["NamedFields"]) -> None:
        """Add what was found in other splits."""
        for other in others:
            self.fields |= other.fields
            self.values |= other.values
            self.present |= other.present

    def require_all(self, row_format: "RowFormat", is_whole: bool) -> None:
        """Check that each field and, if all data were read, each value was found.

        Raises: UserError (BAD_DATA) otherwise.
        """
        listing = ", ".join(sorted(self.present)[:LISTED_FIELDS]) or "none"
        # Of several fields that are renamed to one, as of revisions of a data set, one is enough.
        renamed = {row_format.rename[name] for name in self.fields & row_format.rename.keys()}
        settings = (
            ("rename", [name for name, new in row_format.rename.items() if new not in renamed]),
            ("drop", row_format.drop),
            ("language_field", [row_format.wanted.field] if row_format.wanted.field else []),
        )
        mistakes = [
            f"{setting}: no row has the field {name!r}; the rows have the fields: {listing}"
            for setting, names in settings
            for name in names
            if name not in self.fields
        ]
        for name, values in row_format.drop.items():
            missing = [value for value in values if (name, value) not in self.values]
            if is_whole and missing and name in self.fields:
                mistakes.append(
                    f"drop: no row has {', '.join(map(repr, missing))} in the field {name!r}; "
                    "correct the value or remove it"
                )
        if mistakes:
            raise UserError(mistakes, BAD_DATA)
