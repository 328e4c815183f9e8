"""Rows and units in the making: what a row still waits for, what a unit still lacks."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hala_hpc.data.corpus.reader import Row
from hala_hpc.engines.generation.row_program import Answer, Ask, Rejection, RowProgram
from hala_hpc.engines.generation.unit_state import UnitPieces

#: Counters of a unit that hold how often a row was asked again, by reason, begin so.
AGAIN = "again:"


@dataclass(slots=True, eq=False)
class OpenUnit:
    """A unit between its first row and its commit."""

    number: int
    first: int
    """Number in the corpus of its first row, from 0."""
    rows: int
    pieces: UnitPieces

    @property
    def whole(self) -> bool:
        """Whether every row is finished."""
        return self.pieces.finished == self.rows

    def finish(self, row: "OpenRow", result: Row | Rejection) -> None:
        """Take the result of a row and what it cost: no row, no cost, as a kill has it, too."""
        self.pieces.add(row.index, row.row["id"], result)
        self.pieces.costs.update(row.costs)

    def cost(self, **counts: Any) -> None:
        """Add to what the unit cost."""
        self.pieces.costs.update(counts)


@dataclass(slots=True, eq=False)
class OpenRow:
    """A row, its program, and the answers that it waits for."""

    unit: OpenUnit
    index: int
    """Number in the unit, from 0."""
    row: Row
    program: RowProgram
    asks: list[Ask] = field(default_factory=list)
    answers: list[Answer | None] = field(default_factory=list)
    missing: int = 0
    is_new: bool = False
    """Whether its questions are not put yet."""
    costs: Counter[str] = field(default_factory=Counter)
    """What it cost until now."""

    def begin(self) -> Row | Rejection | None:
        """Start the program; the result of a row that has no questions, else None."""
        return self._go_on(None)

    def take(self, place: int, answer: Answer) -> Row | Rejection | None:
        """Put an answer in its place; the result of the row once it is there.

        None when answers are missing, or new questions are there to be put (`is_new`).
        """
        assert self.answers[place] is None
        self.answers[place] = answer
        self.missing -= 1
        if self.missing:
            return None
        return self._go_on([answer for answer in self.answers if answer is not None])

    def _go_on(self, answers: list[Answer] | None) -> Row | Rejection | None:
        try:
            # A generator that has not begun takes None only.
            asks = self.program.send(answers)  # type: ignore[arg-type]
            while not asks:
                asks = self.program.send([])
        except StopIteration as end:
            result: Row | Rejection = end.value
            return result
        self.asks, self.answers, self.missing = asks, [None] * len(asks), len(asks)
        self.is_new = True
        return None
