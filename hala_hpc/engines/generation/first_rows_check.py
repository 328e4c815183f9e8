"""Stops a node whose first rows nearly all fail for one reason that is no matter of the rows.

A wrong template, a broken number format, an engine that says nothing: no row escapes, and every
GPU hour after the first minutes is lost. Each worker leaves a file with the finished rows of its
units in the folder that all of them read, and all files together are the first rows of the node.
What a file tells of a unit is taken from the rows that were put on the disk, so that no row counts
twice after a kill. Once so many are finished, nothing more is written or read.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from pydantic import Field

from hala_hpc.core.errors import BAD_DATA, EarlyStop
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.generation.rejection_cause import RejectionCause
from hala_hpc.engines.generation.row_program import RowJob
from hala_hpc.engines.generation.unit_state import UnitInProgress, UnitJournal

#: Rows after which a fault that no row escapes is known, all workers together.
FIRST_ROWS = 200
#: Larger shares of them, rejected for one reason, are no chance and not the long rows alone.
SYSTEMATIC_SHARE = 0.8
#: Seconds between two looks at what the others have finished.
POLL_S = 5.0


class FinishedRows(JsonRecord):
    """Finished rows of a unit that the model was asked about, and faults by reason."""

    rows: int = 0
    faults: dict[str, int] = Field(default_factory=dict)


class FirstRows(JsonRecord):
    """`shared/first-00003.json`: the rows that a worker finished first, and what they took."""

    units: dict[int, FinishedRows] = Field(default_factory=dict)
    seconds: float = 0.0
    """Of all attempts of the worker until now, the starts of their engines included."""


@dataclass
class NodeRows:
    """The first rows of all workers together."""

    rows: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    workers: int = 0
    seconds: float = 0.0
    """Of all workers."""

    @classmethod
    def of(cls, found: Iterable[FirstRows]) -> "NodeRows":
        """The sum. Of a unit that two workers tell of, the later has it with more rows."""
        units: dict[int, FinishedRows] = {}
        workers = list(found)
        for one in workers:
            for number, unit in one.units.items():
                if number not in units or units[number].rows < unit.rows:
                    units[number] = unit
        return cls(
            sum(unit.rows for unit in units.values()),
            sum((Counter(unit.faults) for unit in units.values()), Counter()),
            len(workers),
            sum(one.seconds for one in workers),
        )

    @property
    def has_enough_rows(self) -> bool:
        """Whether so many are finished that a fault shows."""
        return self.rows >= FIRST_ROWS

    def systematic_reason(self) -> str:
        """The reason for which nearly all of them are rejected; empty where there is none."""
        reason, many = max(self.faults.items(), key=lambda one: one[1], default=("", 0))
        return reason if many > SYSTEMATIC_SHARE * self.rows else ""


class FirstRowsCheck:
    """What a worker knows of the first rows of its node; begun before its engine is."""

    def __init__(self, work: RowJob, out: UnitContext) -> None:
        self.work, self.out, self.began = work, out, monotonic()
        self.own_file = out.shared / f"first-{out.worker:05d}.json"
        former = FirstRows.read_if_valid(self.own_file) or FirstRows()
        self.units, self.former_seconds = dict(former.units), former.seconds
        self.is_decided = work.max_rejected_fraction >= 1 or work.task.wanted is None
        self._written = former.units
        self._rows_elsewhere = 0
        """Rows of the other workers at the last look."""
        self._next_poll = self.began + POLL_S

    @property
    def gpu_seconds(self) -> float:
        """GPU seconds of this worker, its former attempts included as far as they told."""
        return self.work.gpus * (self.former_seconds + monotonic() - self.began)

    def record_unit(self, unit: UnitInProgress) -> None:
        """Note what is finished of a unit, once it is on the disk or about to be."""
        if self.is_decided:
            return
        found = count_finished_rows(unit.journal, self.work)
        if found.rows or unit.number in self.units:
            self.units[unit.number] = found

    def is_due(self, open_units: Iterable[UnitInProgress]) -> bool:
        """Whether to put rows on the disk and look: there may be enough, or it was long ago."""
        if self.is_decided:
            return False
        if monotonic() >= self._next_poll:
            return True
        rows = {number: unit.rows for number, unit in self.units.items()}
        rows |= {unit.number: unit.journal.asked_by_reason.total() for unit in open_units}
        return sum(rows.values()) + self._rows_elsewhere >= FIRST_ROWS

    def publish_and_check(self) -> None:
        """Leave what was taken for the others, and decide as soon as there are enough rows.

        Raises EarlyStop (65) where nearly all fail for one reason. To be called after the rows are
        on the disk: then no row is told of that a kill could lose.
        """
        if self.is_decided:
            return
        if self.units != self._written:
            seconds = self.former_seconds + monotonic() - self.began
            FirstRows(units=self.units, seconds=round(seconds, 1)).write(self.own_file)
            self._written = dict(self.units)
        self._next_poll = monotonic() + POLL_S
        files = sorted(self.out.shared.glob("first-*.json"))
        found = {path: one for path in files if (one := FirstRows.read_if_valid(path))}
        self._decide(NodeRows.of(found.values()))
        mine = NodeRows.of([one for path, one in found.items() if path == self.own_file])
        self._rows_elsewhere = max(0, NodeRows.of(found.values()).rows - mine.rows)

    def _decide(self, first: NodeRows) -> None:
        if not first.has_enough_rows:
            return
        self.is_decided = True
        if reason := first.systematic_reason():
            raise make_early_stop(self.work, first, reason, self.out.shared)


def count_finished_rows(journal: UnitJournal, work: RowJob) -> FinishedRows:
    """What is finished of a unit."""
    faults = {
        reason: many
        for reason, many in journal.asked_by_reason.items()
        if reason and work.cause_of(reason) is RejectionCause.FAULT
    }
    return FinishedRows(rows=journal.asked_by_reason.total(), faults=faults)


def make_early_stop(work: RowJob, first: NodeRows, reason: str, shared: Path) -> EarlyStop:
    """The error of a node that stops for a fault of nearly all of its first rows."""
    gpu_seconds = round(first.seconds * work.gpus, 1)
    spent = f"{first.seconds:.0f} s of {first.workers} workers"
    return EarlyStop(
        f"{work.name}: {first.faults[reason]} of the first {first.rows} rows are rejected for "
        f"{reason!r}, which says something of the model or of settings and not of the rows; "
        f"{spent} with {work.gpus} GPUs each, {gpu_seconds:.0f} GPU seconds, were spent until now. "
        f"Look at what it said in {shared.parent / 'kept'}, mend the model, the prompt, the engine "
        "or the checks, then let `retry` forget these rows and give the line again; "
        "max_rejected_fraction=1 goes on all the same",
        BAD_DATA,
        gpu_seconds=gpu_seconds,
    )
