"""A table of a report, and how figures become its text."""

from dataclasses import dataclass
from typing import Any

from hala_hpc.core.records import NodeSummary

#: What stands where a figure is missing.
DASH = "–"


@dataclass(frozen=True)
class Table:
    """A heading, the names of columns, rows of text, and a line below."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    word_columns: tuple[int, ...] = (0,)

    def words(self, column: int) -> bool:
        """Whether a column holds words, which stand to the left, and no numbers."""
        return column in self.word_columns


def details(summary: NodeSummary) -> dict[str, Any]:
    """The stage's own part of a summary: its figures."""
    return summary.details if isinstance(summary.details, dict) else {}


def count(value: float | None) -> str:
    """A number with separators; a dash for none."""
    return DASH if value is None else f"{value:,.0f}"


def format_megabytes(size: int) -> str:
    """A size in MB."""
    return f"{size / 1e6:,.2f} MB"
