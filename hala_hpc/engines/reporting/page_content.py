"""What a page holds, before it has a form: sections with tables, drawings, examples and lines."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hala_hpc.engines.evaluation.report import Table

#: A table with more rows is folded.
MAX_OPEN_ROWS = 16


@dataclass(frozen=True)
class PageTable:
    """A table on the page, and as CSV and LaTeX beside it."""

    name: str
    """Stem of its files."""
    table: Table
    data: Sequence[Sequence[object]] = ()
    """Rows of the CSV file with full precision; those of the table if empty."""
    data_columns: Sequence[str] = ()
    best: frozenset[tuple[int, int]] = frozenset()
    """Row and column of cells that are better than all others of their row."""
    published_columns: frozenset[int] = frozenset()
    """Columns with figures that others have published."""
    soft_rows: frozenset[int] = frozenset()
    """Rows that are no result, e.g. as raters do not agree; the page shows them in grey."""

    @property
    def is_folded(self) -> bool:
        """Whether it takes too much room to be open at first."""
        return len(self.table.rows) > MAX_OPEN_ROWS


@dataclass(frozen=True)
class Drawing:
    """A drawing on the page, and as SVG beside it; `data` is also a CSV file."""

    name: str
    """Stem of its files."""
    title: str
    svg: str
    """A whole SVG document with the placeholders of `svg_theme`."""
    description: str
    """What it shows, for readers who do not see it."""
    note: str = ""
    data_columns: Sequence[str] = ()
    data: Sequence[Sequence[object]] = ()


@dataclass(frozen=True)
class Examples:
    """Texts side by side, each in its own direction; `name` is the stem of a CSV file."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    is_folded: bool = False
    narrow_columns: int = 0
    """How many columns from the first hold a number or a code."""


@dataclass(frozen=True)
class Lines:
    """Sentences, or a line to copy into a terminal."""

    texts: Sequence[str]
    is_code: bool = False
    is_warning: bool = False


Block = PageTable | Drawing | Examples | Lines


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading."""

    anchor: str
    title: str
    blocks: Sequence[Block]
    lead: str = ""
    """What the section answers, in one or two sentences."""


@dataclass(frozen=True)
class RunPage:
    """A page about a run."""

    title: str
    verdict: Sequence[str] = ()
    """What was made and what it is worth, in sentences."""
    missing: Sequence[str] = ()
    """What is not on the page as it is not made yet."""
    sections: Sequence[Section] = field(default_factory=tuple)

    @property
    def blocks(self) -> list[Block]:
        """All blocks of all sections."""
        return [block for section in self.sections for block in section.blocks]
