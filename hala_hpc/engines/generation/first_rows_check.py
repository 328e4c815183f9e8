"""Stops a node whose first rows are nearly all rejected for one reason that the rows do not cause.

A wrong template, a broken number format, or an engine with empty answers affects every row: every
GPU hour after the first minutes is lost. Each worker writes a file with the finished rows of its
units to the folder that all workers read. All files together are the first rows of the node.
The counts of a unit come from the rows that are on the disk, so that no row counts twice after a
kill. Once enough rows are finished, nothing more is written or read.
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

#: Finished rows of all workers together after which a fault that affects every row is detected.
FIRST_ROWS = 200
#: A larger share that is rejected for one reason is no chance, and not caused by long rows alone.
SYSTEMATIC_SHARE = 0.8
#: Seconds between two reads of what the other workers have finished.
POLL_S = 5.0


class FinishedRows(JsonRecord):
    """Finished rows of a unit that the model was prompted with, and faults by reason."""

    rows: int = 0
    faults: dict[str, int] = Field(default_factory=dict)


class FirstRows(JsonRecord):
    """`shared/first-00003.json`: the rows that a worker finished first, and their time."""

    units: dict[int, FinishedRows] = Field(default_factory=dict)
    seconds: float = 0.0
    """Seconds of all attempts of the worker until now, with the starts of their engines."""


@dataclass
class NodeRows:
    """The first rows of all workers together."""

    rows: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    workers: int = 0
    seconds: float = 0.0
    """Seconds of all workers."""

    @classmethod
    def of(cls, found: Iterable[FirstRows]) -> "NodeRows":
        """Sum the files. If two have the same unit, the one with more rows counts: it is later."""
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
        """Whether enough rows are finished to detect a fault."""
        return self.rows >= FIRST_ROWS

    def systematic_reason(self) -> str:
        """The reason for which nearly all rows are rejected; empty if there is none."""
        reason, many = max(self.faults.items(), key=lambda one: one[1], default=("", 0))
        return reason if many > SYSTEMATIC_SHARE * self.rows else ""


class FirstRowsCheck:
    """Counts and checks the first rows of a node, in a worker; created before its engine."""

    def __init__(self, work: RowJob, out: UnitContext) -> None:
        self.work, self.out, self.started = work, out, monotonic()
        self.own_file = out.shared / f"first-{out.worker:05d}.json"
        former = FirstRows.read_if_valid(self.own_file) or FirstRows()
        self.units, self.former_seconds = dict(former.units), former.seconds
        self.is_decided = work.max_rejected_fraction >= 1 or work.task.wanted is None
        self._written = former.units
        self._rows_elsewhere = 0
        """Rows of the other workers at the last read."""
        self._next_poll = self.started + POLL_S

    @property
    def gpu_seconds(self) -> float:
        """GPU seconds of this worker and of its former attempts, as far as they were recorded."""
        return self.work.gpus * (self.former_seconds + monotonic() - self.started)

    def record_unit(self, unit: UnitInProgress) -> None:
        """Record the finished rows of a unit that are on the disk or about to be."""
        if self.is_decided:
            return
        found = count_finished_rows(unit.journal, self.work)
        if found.rows or unit.number in self.units:
            self.units[unit.number] = found

    def is_due(self, open_units: Iterable[UnitInProgress]) -> bool:
        """Whether to write rows and check them: enough may be finished, or the poll is due."""
        if self.is_decided:
            return False
        if monotonic() >= self._next_poll:
            return True
        rows = {number: unit.rows for number, unit in self.units.items()}
        rows |= {unit.number: unit.journal.asked_by_reason.total() for unit in open_units}
        return sum(rows.values()) + self._rows_elsewhere >= FIRST_ROWS

    def publish_and_check(self) -> None:
        """Publish the recorded counts for the other workers; decide once there are enough rows.

        Call it after the rows are on the disk: then no row is counted that a kill could lose.

        Raises: EarlyStop (BAD_DATA) if nearly all rows are rejected for one reason.
        """
        if self.is_decided:
            return
        if self.units != self._written:
            seconds = self.former_seconds + monotonic() - self.started
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
    """Count the finished rows of a unit, and its faults by reason."""
    faults = {
        reason: many
        for reason, many in journal.asked_by_reason.items()
        if reason and work.cause_of(reason) is RejectionCause.FAULT
    }
    return FinishedRows(rows=journal.asked_by_reason.total(), faults=faults)


def make_early_stop(work: RowJob, first: NodeRows, reason: str, shared: Path) -> EarlyStop:
    """Make the error of a node that stops because of a fault in nearly all of its first rows."""
    gpu_seconds = round(first.seconds * work.gpus, 1)
    spent = f"{first.seconds:.0f} s of {first.workers} workers"
    return EarlyStop(
        f"{work.name}: {first.faults[reason]} of the first {first.rows} rows are rejected for "
        f"{reason!r}, a fault of the model or of settings and not of the rows; {spent} with "
        f"{work.gpus} GPUs each, {gpu_seconds:.0f} GPU seconds, were spent. Read the responses of "
        f"the model in {shared.parent / 'kept'}, fix the model, the prompt, the engine or the "
        "checks, remove these rows with `retry`, and run the same command again; "
        "max_rejected_fraction=1 continues in spite of it",
        BAD_DATA,
        gpu_seconds=gpu_seconds,
    )
