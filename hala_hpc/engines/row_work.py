"""A unit in the making: rows that wait for the answers to their prompts."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from hala_hpc.data.corpus import Kind, Row, count_rows

#: An answer has no room in the model's context.
TOO_LONG = "too_long"
#: An answer was cut at its limit.
TRUNCATED = "truncated"
#: An answer holds nothing but white space.
EMPTY = "empty"
#: An answer holds half a character (U+FFFD) that its prompt does not.
BROKEN = "broken_text"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said to a prompt; `reason` tells why it is no good, else it is empty."""

    text: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row is not in the result, and what the model said."""

    reason: str
    said: str = ""


class RowTask(Protocol):
    """What a stage makes of a row: prompts out, answers in."""

    kind: Kind
    """Kind of the rows that come out."""

    def prompts(self, row: Row) -> list[str]:
        """The user's words of every prompt that the row needs; none when it needs no model."""
        ...

    def finish(self, row: Row, answers: list[Answer]) -> Row | Rejection:
        """The finished row, from the answers in the order of the prompts."""
        ...

    def fault(self, before: Row, after: Row) -> str:
        """What is wrong with a finished row that was read back; empty when nothing is."""
        ...


@dataclass(frozen=True)
class Work:
    """What is to be done: the rows of a corpus, cut into units, by a task."""

    corpus: Path
    name: str
    """The corpus as the settings name it."""
    units: int
    task: RowTask
    blank: str = ""
    """The prompt around an empty text: what is longer is the text's own."""

    @cached_property
    def rows(self) -> int:
        """Rows of the corpus."""
        return count_rows(self.corpus)

    def range_of(self, unit: int) -> tuple[int, int]:
        """First row of a unit and the one after its last."""
        return unit * self.rows // self.units, (unit + 1) * self.rows // self.units


@dataclass(slots=True, eq=False)
class OpenUnit:
    """A unit between its first prompt and its commit."""

    number: int
    first: int
    """Number in the corpus of the first row, from 0."""
    rows: list[Row]
    results: list[Row | Rejection | None] = field(default_factory=list)
    missing: int = 0
    texts: int = 0
    texts_reused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def __post_init__(self) -> None:
        self.results = [None] * len(self.rows)
        self.missing = len(self.rows)


@dataclass(slots=True, eq=False)
class OpenRow:
    """A row and the answers that it has so far."""

    unit: OpenUnit
    index: int
    answers: list[Answer | None]

    @property
    def row(self) -> Row:
        """The row as the corpus has it."""
        return self.unit.rows[self.index]

    def whole(self) -> list[Answer] | None:
        """All answers once they are there."""
        there = [answer for answer in self.answers if answer is not None]
        return there if len(there) == len(self.answers) else None
