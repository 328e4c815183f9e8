"""Units in progress: their unfinished rows, and a journal of finished ones that survives a kill.

A journal segment is a file of JSON lines, one for each finished row, and a footer with their count
and digest. It exists as a whole or not at all, is written by one attempt and never changed. Rows
that two attempts finished count once: the segment whose name sorts first wins.
"""

import contextlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hala_hpc.core.files import atomic_file
from hala_hpc.data.corpus.reader import Row
from hala_hpc.engines.generation.journal_segment import (
    FinishedRow,
    JournalFooter,
    read_journal_segment,
)
from hala_hpc.engines.generation.row_program import TOO_LONG, Answer, Prompt, Rejection, RowProgram
from hala_hpc.engines.generation.unit_costs import Costs

#: A row that is finished, in memory only.
IN_MEMORY = -2
#: A row that is not finished.
UNFINISHED = -1


class UnitJournal:
    """The finished rows of one unit: those of earlier attempts, and those added since."""

    def __init__(self, folder: Path, rows: int, attempt: str) -> None:
        self.folder, self.attempt = folder, attempt
        self.costs = Costs()
        """Costs of the finished rows."""
        self.asked_by_reason: Counter[str] = Counter()
        """Finished rows that the model was prompted with, by reason of rejection; "" for none."""
        self._written = Costs()
        self._segments: list[Path] = []
        self._damaged: list[Path] = []
        self._segment_of_row = array("i", [UNFINISHED]) * rows
        self._offset = array("q", [0]) * rows
        self._unwritten: dict[int, bytes] = {}
        for path in sorted(folder.glob("piece-*.jsonl")):
            self._read_segment(path)
        self.finished = sum(segment != UNFINISHED for segment in self._segment_of_row)
        self._number = len(self._segments)

    def __contains__(self, index: int) -> bool:
        return self._segment_of_row[index] != UNFINISHED

    def _read_segment(self, path: Path) -> None:
        """Read a segment of an earlier attempt; the rows of a damaged one are redone."""
        lines = read_journal_segment(path)
        if lines is None:
            self._damaged.append(path)
            return
        footer = JournalFooter.from_json(lines.pop(), path)
        costs = Costs.from_values(footer.costs)
        self.costs.add(costs)
        self._written.add(costs)
        offset, number = 0, len(self._segments)
        self._segments.append(path)
        for line in lines:
            row = FinishedRow.from_line(line)
            if (
                row.index < len(self._segment_of_row)
                and self._segment_of_row[row.index] == UNFINISHED
            ):
                self._segment_of_row[row.index], self._offset[row.index] = number, offset
                self.asked_by_reason[row.reason] += row.is_asked
            offset += len(line)

    def add(self, index: int, id_: str, result: Row | Rejection, is_asked: bool = True) -> None:
        """Add a finished row; it is in memory until `write`."""
        row = FinishedRow(index, id_, result, is_asked)
        self._unwritten[index] = row.to_line()
        self._segment_of_row[index] = IN_MEMORY
        self.asked_by_reason[row.reason] += is_asked
        self.finished += 1

    def write(self, check_lease: Callable[[], None]) -> int:
        """Write what was added since the last call as one segment; returns its number of rows."""
        if not self._unwritten:
            return 0
        lines = list(self._unwritten.values())
        path = self.folder / f"piece-{self.attempt}-{self._number:05d}.jsonl"
        # Checked last: an attempt that was taken for dead may have been frozen while it wrote.
        with atomic_file(path, check_lease) as temporary, temporary.open("wb") as file:
            file.writelines(lines)
            file.write(JournalFooter.of(lines, self.costs.since(self._written)).encoded())
        offset = 0
        for index, line in self._unwritten.items():
            self._segment_of_row[index], self._offset[index] = len(self._segments), offset
            offset += len(line)
        self._segments.append(path)
        self._unwritten, self._written = {}, self.costs.copy()
        self._number += 1
        return len(lines)

    def results(self) -> Iterator[FinishedRow]:
        """Every finished row, in the order of the input."""
        files = [path.open("rb") for path in self._segments]
        try:
            for index, segment in enumerate(self._segment_of_row):
                if segment == UNFINISHED:
                    continue
                if segment == IN_MEMORY:
                    line = self._unwritten[index]
                else:
                    files[segment].seek(self._offset[index])
                    line = files[segment].readline()
                yield FinishedRow.from_line(line)
        finally:
            for file in files:
                file.close()

    def remove(self) -> None:
        """Remove the segments of a committed unit: those of this attempt and those that it read.

        Also removes unfinished files of killed attempts. Segments of others stay: an attempt that
        was taken for dead must not take them from its successor. The gate removes what is left.
        """
        for path in (*self._segments, *self._damaged, *self.folder.glob(".piece-*.tmp")):
            if not path.is_dir():
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()


@dataclass(slots=True, eq=False)
class UnitInProgress:
    """A unit between its first row and its commit."""

    number: int
    first: int
    """Number in the corpus of its first row, from 0."""
    rows: int
    journal: UnitJournal

    @property
    def whole(self) -> bool:
        """Whether every row is finished."""
        return self.journal.finished == self.rows

    def finish(self, row: "RowInProgress", result: Row | Rejection) -> None:
        """Add the result of a row and its costs: as after a kill, only finished rows have costs."""
        self.journal.add(row.index, row.row["id"], result, row.is_asked(result))
        self.journal.costs.add(row.costs)

    def add_seconds(self, seconds: float) -> None:
        """Add to the seconds of the unit."""
        self.journal.costs.seconds += seconds


@dataclass(slots=True, eq=False)
class RowInProgress:
    """A row, its program, and the answers that it waits for."""

    unit: UnitInProgress
    index: int
    """Number in the unit, from 0."""
    row: Row
    program: RowProgram
    prompts: list[Prompt] = field(default_factory=list)
    answers: list[Answer | None] = field(default_factory=list)
    missing: int = 0
    has_new_prompts: bool = False
    """Whether its prompts are not queued yet."""
    costs: Costs = field(default_factory=Costs)
    """Costs until now."""

    def is_asked(self, result: Row | Rejection) -> bool:
        """Whether the model was prompted with the row: one that is too long never is."""
        is_too_long = isinstance(result, Rejection) and result.reason == TOO_LONG
        return self.costs.texts > 0 and not is_too_long

    def start(self) -> Row | Rejection | None:
        """Start the program; returns the result of a row that has no prompts, else None."""
        return self._advance(None)

    def set_answer(self, place: int, answer: Answer) -> Row | Rejection | None:
        """Set the answer to one prompt; returns the result of the row once it has one.

        None if answers are missing, or if there are new prompts to queue (`has_new_prompts`).
        """
        assert self.answers[place] is None
        self.answers[place] = answer
        self.missing -= 1
        if self.missing:
            return None
        return self._advance([answer for answer in self.answers if answer is not None])

    def _advance(self, answers: list[Answer] | None) -> Row | Rejection | None:
        try:
            # A generator that has not started takes None only.
            prompts = self.program.send(answers)  # type: ignore[arg-type]
            while not prompts:
                prompts = self.program.send([])
        except StopIteration as end:
            result: Row | Rejection = end.value
            return result
        self.prompts, self.answers, self.missing = prompts, [None] * len(prompts), len(prompts)
        self.has_new_prompts = True
        return None


def count_rejections(folder: Path) -> int:
    """Count the rejected rows in the journal of a unit."""
    segments = (read_journal_segment(path) or [] for path in folder.glob("piece-*.jsonl"))
    return sum(FinishedRow.from_line(line).is_rejected for lines in segments for line in lines[:-1])


def remove_rejections(folder: Path) -> None:
    """Remove the rejected rows from the journal of a unit; only while no attempt runs it.

    Their costs stay counted, as they were spent.
    """
    for path in folder.glob("piece-*.jsonl"):
        lines = read_journal_segment(path) or []
        good = [line for line in lines[:-1] if not FinishedRow.from_line(line).is_rejected]
        if len(good) == len(lines[:-1]):
            continue
        footer = JournalFooter.of(
            good, Costs.from_values(JournalFooter.from_json(lines[-1], path).costs)
        )
        with atomic_file(path) as temporary:
            temporary.write_bytes(b"".join(good) + footer.encoded())
