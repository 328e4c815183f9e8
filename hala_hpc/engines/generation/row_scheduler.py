"""Feeds the rows of many units through one engine without a pause between them."""

from collections.abc import Iterable, Iterator
from itertools import islice
from math import sqrt
from time import monotonic

from hala_hpc.core.errors import BAD_DATA, EarlyStop
from hala_hpc.core.stage import Out
from hala_hpc.data.corpus.reader import Row, characters_of
from hala_hpc.engines.generation.early_end import EarlyEnd
from hala_hpc.engines.generation.engine import Engine
from hala_hpc.engines.generation.request_queue import Delivery, Questions
from hala_hpc.engines.generation.row_program import Rejection, Work
from hala_hpc.engines.generation.unit_files import write_unit
from hala_hpc.engines.generation.unit_state import OpenRow, OpenUnit, UnitPieces
from hala_hpc.engines.generation.watchdog import EngineWatch

#: Rows that are opened between two steps of the engine; their questions are tokenized together.
OPEN_ROWS = 64
#: Characters of open rows at most, whatever else is allowed.
OPEN_CHARACTERS = 50_000_000
#: Characters of finished rows that are only in memory at most: then they are committed at once.
HELD_CHARACTERS = 1_000_000
#: Seconds between two words of progress.
PROGRESS_S = 0.5
#: Rows after which a share of rejected ones tells something.
TELLING_ROWS = 1000
#: As many times what is read ahead: its long rows come first, and they fail more often.
TELLING_WINDOWS = 3


class UnitFeed:
    """Rows of the next unit enter the engine while the last of the former finish."""

    def __init__(
        self,
        engine: Engine,
        work: Work,
        out: Out,
        commit_s: float = 30.0,
        early: EarlyEnd | None = None,
    ) -> None:
        self.engine, self.work, self.out, self.commit_s = engine, work, out, commit_s
        self.early = early or EarlyEnd(work, out)
        self.questions = Questions(engine, work.blank, out)
        work.task.fit(*self.questions.measure())
        self.open_units: dict[int, OpenUnit] = {}
        self.rows = self.rejected = self.characters = self.held_characters = 0
        self.last_commit = self.last_cost = monotonic()
        self.next_progress = 0.0
        self.telling_rows = max(TELLING_ROWS, TELLING_WINDOWS * self.questions.most_ahead)

    def run(self, units: Iterable[int]) -> None:
        """Make the units and commit each when its last row is done; return early on `stop`."""
        limit_s = self.engine.settings.hang_limit_s
        with EngineWatch(limit_s, self.out.leave, self.engine.processes) as watch:
            self.questions.restarting = watch.restarting
            self._run(self._rows(units), watch)
        self._commit_pieces(now=True)
        self.questions.close()
        self._tell(now=True)

    def _run(self, rows: Iterator[OpenRow], watch: EngineWatch) -> None:
        more = True
        while not self.out.stop:
            is_last = False
            if more and self._has_space():
                more = self._open(rows)
                is_last = not more
            self._deliver(self.questions.prepare())
            if is_last:
                self.questions.sort_rest()
            if more and self._has_space() and self.questions.is_hungry:
                continue
            self.questions.feed()
            if self.questions.is_idle:
                if not more:
                    break
                continue
            watch.beat(self.questions.stream.in_flight)
            self._deliver(self.questions.step())
            watch.beat(0)
            self._commit_pieces()
            self._tell()

    def _rows(self, units: Iterable[int]) -> Iterator[OpenRow]:
        """The rows of all units that no earlier attempt finished."""
        for number in units:
            first, last = self.work.range_of(number)
            pieces = UnitPieces(self.out.kept(number), last - first, self.out.attempt)
            unit = self.open_units[number] = OpenUnit(number, first, last - first, pieces)
            self.rows += pieces.finished
            self.rejected += sum(many for why, many in pieces.asked.items() if self._is_bad(why))
            self.early.take(unit)
            if unit.whole:
                self._close(unit)
                continue
            for index, row in enumerate(self.work.index.read(first, last)):
                if index not in pieces:
                    yield OpenRow(unit, index, row, self.work.task.program(row))

    def _has_space(self) -> bool:
        """Whether more rows may be opened: memory is bounded, however large a unit is."""
        ahead = self.questions.ahead < self.questions.most_ahead
        return ahead and self.characters < OPEN_CHARACTERS

    def _open(self, rows: Iterator[OpenRow]) -> bool:
        """Open the next rows; False when there are none."""
        opened = 0
        for row in islice(rows, OPEN_ROWS):
            opened += 1
            self.characters += characters_of(row.row)
            self._go_on(row, row.begin())
        return opened > 0

    def _deliver(self, deliveries: Iterable[Delivery]) -> None:
        """Give answers to the rows that wait for them."""
        for waiting, answer in deliveries:
            for row, place in waiting:
                result = row.take(place, answer)
                if result is not None or row.is_new:
                    self._go_on(row, result)

    def _go_on(self, row: OpenRow, result: Row | Rejection | None) -> None:
        """Put the questions of a row until it has its result or must wait."""
        while result is None:
            row.is_new = False
            known = self.questions.put(row)
            for place, answer in known:
                result = row.take(place, answer)
            if result is None and not row.is_new:
                return
        self._finish(row, result)

    def _finish(self, row: OpenRow, result: Row | Rejection) -> None:
        """Take the result of a row; with its last row a unit is committed."""
        row.unit.finish(row, result)
        self.rows += 1
        characters = characters_of(row.row)
        self.characters -= characters
        self.held_characters += characters
        if isinstance(result, Rejection):
            self._require_good(result.reason)
        if row.unit.whole:
            self._close(row.unit)

    def _require_good(self, reason: str) -> None:
        """Raise EarlyStop (65) when clearly more rows are rejected than may be."""
        most = self.work.max_rejected_fraction
        if not self._is_bad(reason):
            return
        self.rejected += 1
        # Three standard deviations above what may be: chance alone does not stop a run.
        limit = most * self.rows + 3 * sqrt(self.rows * most * (1 - most))
        if self.rows >= self.telling_rows and self.rejected > limit:
            self._commit_pieces(now=True)
            spent = self.early.gpu_seconds
            raise EarlyStop(
                f"{self.work.name}: {self.rejected} of the first {self.rows} rows are rejected, "
                f"the last one for {reason!r}, max_rejected_fraction is {most}; this worker has "
                f"spent {spent:.0f} GPU seconds; look at them in "
                f"{self.out.kept(min(self.open_units, default=0))}, mend the model, the prompt or "
                "the checks, or raise max_rejected_fraction",
                BAD_DATA,
                gpu_seconds=spent,
            )

    def _is_bad(self, reason: str) -> bool:
        """Whether rows with this reason count against `max_rejected_fraction`; "" for none."""
        return bool(reason) and self.work.is_trouble(reason)

    def _close(self, unit: OpenUnit) -> None:
        self._spend(unit)
        self.early.take(unit)
        write_unit(self.out.folder(unit.number), unit, self.work)
        self.out.commit(unit.number)
        unit.pieces.remove()
        del self.open_units[unit.number]
        self.early.look()

    def _spend(self, unit: OpenUnit) -> None:
        """Put the time since the last call down to a unit; only sums over units are told."""
        now = monotonic()
        unit.spend(now - self.last_cost)
        self.last_cost = now

    def _commit_pieces(self, now: bool = False) -> None:
        """Put the finished rows of open units on the disk from time to time."""
        is_due = monotonic() - self.last_commit >= self.commit_s
        is_due = is_due or self.early.is_due(self.open_units.values())
        if not (now or is_due or self.held_characters >= HELD_CHARACTERS):
            return
        self.held_characters = 0
        self.out.require_lease()
        for unit in self.open_units.values():
            self._spend(unit)
            unit.pieces.write(self.out.require_lease)
            self.early.take(unit)
        self.early.look()
        self.questions.shared.exchange()
        self.last_commit = monotonic()

    def _tell(self, now: bool = False) -> None:
        if now or monotonic() >= self.next_progress:
            self.next_progress = monotonic() + PROGRESS_S
            whole = self.work.index.rows
            self.out.progress(rows=self.rows, rows_of_node=whole, tokens=self.questions.tokens)
