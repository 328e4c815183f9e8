"""Feeds the rows of many units through one engine without a pause between them."""

from collections.abc import Iterator, Sequence
from itertools import islice
from time import monotonic

from hala_hpc.core.stage import Out
from hala_hpc.data.corpus import characters_of, read_slice
from hala_hpc.engines.ask_once import AskOnce
from hala_hpc.engines.generate import Completion, Generator, Request
from hala_hpc.engines.row_work import (
    BROKEN,
    EMPTY,
    TOO_LONG,
    TRUNCATED,
    Answer,
    OpenRow,
    OpenUnit,
    Work,
)
from hala_hpc.engines.unit_files import write_unit

#: Seconds for rows that are nearly done once the job must leave.
STOP_GRACE_S = 3.0
#: Rows whose prompts are tokenized in one call.
TOKENIZE_ROWS = 64
#: Seconds between two words of progress.
PROGRESS_S = 0.5


class UnitFeed:
    """Rows of the next unit enter the engine while the last of the former finish."""

    def __init__(self, generator: Generator, work: Work, out: Out) -> None:
        self.generator, self.work, self.out = generator, work, out
        self.fixed_tokens = len(generator.prompter.ids([work.blank])[0])
        self.once = AskOnce()
        self.rows = self.rows_total = self.tokens = 0
        self.last_commit = monotonic()
        self.next_progress = 0.0

    def run(self, units: Sequence[int]) -> None:
        """Make the units and commit each when its last row is done; return early on `stop`."""
        ranges = [self.work.range_of(unit) for unit in units]
        self.rows_total = sum(last - first for first, last in ranges)
        stopped_at = None
        answers = self.generator.stream(self._requests(units))
        for completions in answers:
            for completion in completions:
                self._take(completion)
            self._tell()
            if self.out.stop:
                stopped_at = stopped_at or monotonic()
                if monotonic() - stopped_at > STOP_GRACE_S:
                    break
        answers.close()
        self._tell(now=True)

    def _requests(self, units: Sequence[int]) -> Iterator[Request]:
        """Prompts of all units that no earlier row has asked, longest rows of a unit first.

        Long rows that start late would leave the engine half empty at the end.
        """
        for number in units:
            if self.out.stop:
                return
            first, last = self.work.range_of(number)
            unit = OpenUnit(number, first, list(read_slice(self.work.corpus, first, last)))
            if not unit.rows:
                self._close(unit)
            longest_first = sorted(
                range(len(unit.rows)), key=lambda index: -characters_of(unit.rows[index])
            )
            indexes = iter(longest_first)
            while batch := list(islice(indexes, TOKENIZE_ROWS)):
                yield from self._open_rows(unit, batch)

    def _open_rows(self, unit: OpenUnit, indexes: list[int]) -> Iterator[Request]:
        prompts = [self.work.task.prompts(unit.rows[index]) for index in indexes]
        words = [word for prompt in prompts for word in prompt]
        ids = iter(self.generator.prompter.ids(words) if words else [])
        for index, row_words in zip(indexes, prompts, strict=True):
            row = OpenRow(unit, index, [None] * len(row_words))
            unit.texts += len(row_words)
            for place, word in enumerate(row_words):
                request = self._ask(row, place, word, next(ids))
                if request is not None:
                    yield request
            self._finish(row)

    def _ask(self, row: OpenRow, place: int, words: str, ids: list[int]) -> Request | None:
        """A request for a prompt, unless its answer is known or on the way, or has no room."""
        if self.once.reuse(words, row, place):
            row.unit.texts_reused += 1
            return None
        limit = self.generator.answer_limit(len(ids), len(ids) - self.fixed_tokens)
        if limit is None:
            row.answers[place] = Answer("", TOO_LONG)
            return None
        return Request(self.once.ask(words, row, place), ids, limit)

    def _take(self, completion: Completion) -> None:
        """Give an answer to every row that waits for it."""
        answer = judge_answer(completion, self.once.words(completion.key))
        waiting = self.once.answer(completion.key, answer)
        unit = waiting[0].unit
        unit.tokens_in += completion.tokens_in
        unit.tokens_out += completion.tokens_out
        self.tokens += completion.tokens_out
        for row in waiting:
            self._finish(row)

    def _finish(self, row: OpenRow) -> None:
        """Finish a row once all its answers are there, and its unit with its last row."""
        unit, answers = row.unit, row.whole()
        if answers is None or unit.results[row.index] is not None:
            return
        unit.results[row.index] = self.work.task.finish(row.row, answers)
        unit.missing -= 1
        self.rows += 1
        if not unit.missing:
            self._close(unit)

    def _close(self, unit: OpenUnit) -> None:
        now = monotonic()
        seconds, self.last_commit = now - self.last_commit, now
        write_unit(self.out.folder(unit.number), unit, self.work, seconds)
        self.out.commit(unit.number)

    def _tell(self, now: bool = False) -> None:
        if now or monotonic() >= self.next_progress:
            self.next_progress = monotonic() + PROGRESS_S
            self.out.progress(rows=self.rows, rows_total=self.rows_total, tokens=self.tokens)


def judge_answer(completion: Completion, words: str) -> Answer:
    """The answer to a prompt, with a reason when it is cut, empty or broken."""
    text = completion.text.strip()
    if not completion.whole:
        return Answer(text, TRUNCATED)
    if not text:
        return Answer(text, EMPTY)
    return Answer(text, BROKEN if "\ufffd" in text and "\ufffd" not in words else "")
