"""Runs the rows of many units through one engine without a pause between the units."""

from collections.abc import Iterable, Iterator
from itertools import islice
from math import sqrt
from time import monotonic

from hala_hpc.core.errors import BAD_DATA, EarlyStop
from hala_hpc.core.stage import UnitContext
from hala_hpc.data.corpus.reader import Row, count_characters
from hala_hpc.engines.generation.engine import Engine
from hala_hpc.engines.generation.first_rows_check import FirstRowsCheck
from hala_hpc.engines.generation.request_queue import Delivery, RequestQueue
from hala_hpc.engines.generation.row_program import Rejection, RowJob
from hala_hpc.engines.generation.unit_files import write_unit
from hala_hpc.engines.generation.unit_state import RowInProgress, UnitInProgress, UnitJournal
from hala_hpc.engines.generation.watchdog import EngineWatch

#: Rows that are started between two engine steps; their prompts are tokenized together.
OPEN_ROWS = 64
#: Maximum number of characters of rows in progress, whatever else is allowed.
MAX_OPEN_CHARACTERS = 50_000_000
#: Maximum number of characters of finished rows in memory: above it they are written at once.
MAX_UNWRITTEN_CHARACTERS = 1_000_000
#: Seconds between two progress reports.
PROGRESS_S = 0.5
#: Minimum number of rows after which the share of rejected ones is judged.
MIN_JUDGED_ROWS = 1000
#: The same as a multiple of what is read ahead: its long rows come first, and fail more often.
MIN_JUDGED_WINDOWS = 3


class RowScheduler:
    """Starts rows of the next unit while the last rows of the previous one finish."""

    def __init__(
        self,
        engine: Engine,
        work: RowJob,
        out: UnitContext,
        commit_interval_s: float = 30.0,
        first_rows: FirstRowsCheck | None = None,
    ) -> None:
        self.engine, self.work, self.out = engine, work, out
        self.commit_interval_s = commit_interval_s
        self.first_rows = first_rows or FirstRowsCheck(work, out)
        self.queue = RequestQueue(engine, work.empty_prompt, out)
        work.task.fit(*self.queue.measure())
        self.open_units: dict[int, UnitInProgress] = {}
        self.rows = self.rejected = self.characters = self.unwritten_characters = 0
        self.last_commit = self.last_cost = monotonic()
        self.next_progress = 0.0
        self.min_judged_rows = max(MIN_JUDGED_ROWS, MIN_JUDGED_WINDOWS * self.queue.max_ahead)

    def run(self, units: Iterable[int]) -> None:
        """Run the units, and commit each when its last row is finished; return early on a stop."""
        limit_s = self.engine.settings.step_timeout_s
        with EngineWatch(limit_s, self.out.abort, self.engine.processes) as watch:
            self.queue.restarting = watch.restarting
            self._run(self._rows(units), watch)
        self._write_journals(now=True)
        self.queue.close()
        self._report_progress(now=True)

    def _run(self, rows: Iterator[RowInProgress], watch: EngineWatch) -> None:
        more = True
        while not self.out.stop_requested:
            is_last = False
            if more and self._has_space():
                more = self._open(rows)
                is_last = not more
            self._deliver(self.queue.prepare())
            if is_last:
                self.queue.sort_remaining()
            if more and self._has_space() and self.queue.needs_requests:
                continue
            self.queue.feed()
            if self.queue.is_idle:
                if not more:
                    break
                continue
            watch.beat(self.queue.stream.in_flight)
            self._deliver(self.queue.step())
            watch.beat(0)
            self._write_journals()
            self._report_progress()

    def _rows(self, units: Iterable[int]) -> Iterator[RowInProgress]:
        """Rows of all units that no earlier attempt finished."""
        for number in units:
            first, last = self.work.range_of(number)
            journal = UnitJournal(self.out.state_dir(number), last - first, self.out.attempt)
            unit = self.open_units[number] = UnitInProgress(number, first, last - first, journal)
            self.rows += journal.finished
            self.rejected += sum(
                many
                for reason, many in journal.asked_by_reason.items()
                if self._counts_against_limit(reason)
            )
            self.first_rows.record_unit(unit)
            if unit.whole:
                self._close(unit)
                continue
            for index, row in enumerate(self.work.index.read(first, last)):
                if index not in journal:
                    yield RowInProgress(unit, index, row, self.work.task.program(row))

    def _has_space(self) -> bool:
        """Whether more rows may be started: memory is bounded, however large a unit is."""
        ahead = self.queue.ahead < self.queue.max_ahead
        return ahead and self.characters < MAX_OPEN_CHARACTERS

    def _open(self, rows: Iterator[RowInProgress]) -> bool:
        """Start the next rows; False if there are none."""
        opened = 0
        for row in islice(rows, OPEN_ROWS):
            opened += 1
            self.characters += count_characters(row.row)
            self._advance(row, row.start())
        return opened > 0

    def _deliver(self, deliveries: Iterable[Delivery]) -> None:
        """Give answers to the rows that wait for them."""
        for waiting, answer in deliveries:
            for row, place in waiting:
                result = row.set_answer(place, answer)
                if result is not None or row.has_new_prompts:
                    self._advance(row, result)

    def _advance(self, row: RowInProgress, result: Row | Rejection | None) -> None:
        """Queue the prompts of a row until it has its result or must wait."""
        while result is None:
            row.has_new_prompts = False
            known = self.queue.put(row)
            for place, answer in known:
                result = row.set_answer(place, answer)
            if result is None and not row.has_new_prompts:
                return
        self._finish(row, result)

    def _finish(self, row: RowInProgress, result: Row | Rejection) -> None:
        """Record the result of a row; commits the unit if it was the last row."""
        row.unit.finish(row, result)
        self.rows += 1
        characters = count_characters(row.row)
        self.characters -= characters
        self.unwritten_characters += characters
        if isinstance(result, Rejection):
            self._check_rejected_fraction(result.reason)
        if row.unit.whole:
            self._close(row.unit)

    def _check_rejected_fraction(self, reason: str) -> None:
        """Raise EarlyStop (BAD_DATA) if clearly more rows are rejected than allowed."""
        max_fraction = self.work.max_rejected_fraction
        if not self._counts_against_limit(reason):
            return
        self.rejected += 1
        # Three standard deviations above the limit: chance alone does not stop a run.
        limit = max_fraction * self.rows + 3 * sqrt(self.rows * max_fraction * (1 - max_fraction))
        if self.rows >= self.min_judged_rows and self.rejected > limit:
            self._write_journals(now=True)
            spent = self.first_rows.gpu_seconds
            raise EarlyStop(
                f"{self.work.name}: max_rejected_fraction={max_fraction}: {self.rejected} of the "
                f"first {self.rows} rows are rejected, the last one for {reason!r}; this worker "
                f"has spent {spent:.0f} GPU seconds; read them in "
                f"{self.out.state_dir(min(self.open_units, default=0))}, fix the model, the prompt "
                "or the checks, or raise max_rejected_fraction",
                BAD_DATA,
                gpu_seconds=spent,
            )

    def _counts_against_limit(self, reason: str) -> bool:
        """Whether rows with this reason count against `max_rejected_fraction`; "" for none."""
        return bool(reason) and self.work.counts_against_limit(reason)

    def _close(self, unit: UnitInProgress) -> None:
        self._add_seconds(unit)
        self.first_rows.record_unit(unit)
        write_unit(self.out.folder(unit.number), unit, self.work)
        self.out.commit(unit.number)
        unit.journal.remove()
        del self.open_units[unit.number]
        self.first_rows.publish_and_check()

    def _add_seconds(self, unit: UnitInProgress) -> None:
        """Add the time since the last call to a unit; only sums over units are reported."""
        now = monotonic()
        unit.add_seconds(now - self.last_cost)
        self.last_cost = now

    def _write_journals(self, now: bool = False) -> None:
        """Write the finished rows of units in progress to the disk, if it is due."""
        is_due = monotonic() - self.last_commit >= self.commit_interval_s
        is_due = is_due or self.first_rows.is_due(self.open_units.values())
        if not (now or is_due or self.unwritten_characters >= MAX_UNWRITTEN_CHARACTERS):
            return
        self.unwritten_characters = 0
        self.out.check_lease()
        for unit in self.open_units.values():
            self._add_seconds(unit)
            unit.journal.write(self.out.check_lease)
            self.first_rows.record_unit(unit)
        self.first_rows.publish_and_check()
        self.queue.shared.exchange()
        self.last_commit = monotonic()

    def _report_progress(self, now: bool = False) -> None:
        if now or monotonic() >= self.next_progress:
            self.next_progress = monotonic() + PROGRESS_S
            whole = self.work.index.rows
            self.out.report_progress(rows=self.rows, rows_of_node=whole, tokens=self.queue.tokens)
