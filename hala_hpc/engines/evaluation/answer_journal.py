"""Answers of a model to the requests of one unit, on disk at the latest half a minute after.

A unit of a benchmark is scored as a whole, so a killed worker would lose minutes or hours. What
survives it are the answers: the next attempt makes the same requests, finds the answered ones here,
and asks the model only the rest.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, StopRequested, UserError
from hala_hpc.core.files import atomic_file
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.stage import UnitContext

#: Seconds until finished answers are written. A batch is answered at once, and takes less.
WRITE_INTERVAL_S = 30.0


class AnswerFooter(JsonRecord):
    """Last line of a journal file: shows that the lines before it are those that were written."""

    answers: int
    digest: str


class AnswerJournal:
    """The answers of one unit: those of earlier attempts, and those added since.

    `interval_s`: seconds until added answers are written.
    """

    def __init__(self, out: UnitContext, unit: int, interval_s: float = WRITE_INTERVAL_S) -> None:
        self.out, self.folder, self.interval_s = out, out.state_dir(unit), interval_s
        self.answers: dict[str, Any] = {}
        """JSON values by key of their request."""
        self.added = 0
        """Answers of this attempt."""
        self._unwritten: dict[str, Any] = {}
        self._number = 0
        self._written_s = time.monotonic()
        for path in sorted(self.folder.glob("answers-*.jsonl")):
            self.answers.update(read_answers(path))

    def add(self, key: str, answer: Any) -> None:
        """Add an answer; write what is added if it is time.

        Raises: StopRequested, with all answers written, if the job must stop.
        """
        if key in self.answers:
            return
        self.answers[key] = self._unwritten[key] = answer
        self.added += 1
        if self.out.stop_requested:
            self.write()
            raise StopRequested("asked to stop in the middle of an evaluation")
        if time.monotonic() - self._written_s >= self.interval_s:
            self.write()

    def write(self) -> None:
        """Write the answers that were added since the last call, as one file."""
        self._written_s = time.monotonic()
        if not self._unwritten:
            return
        lines = [
            json.dumps([key, answer], ensure_ascii=False) + "\n"
            for key, answer in self._unwritten.items()
        ]
        footer = AnswerFooter(answers=len(lines), digest=digest_lines(lines))
        path = self.folder / f"answers-{self.out.attempt}-{self._number:05d}.jsonl"
        # Checked last: an attempt that was taken for dead may have been frozen while it wrote.
        with atomic_file(path, self.out.check_lease) as temporary:
            temporary.write_text("".join([*lines, footer.line(), "\n"]), encoding="utf-8")
        self._unwritten = {}
        self._number += 1


def read_answers(path: Path) -> dict[str, Any]:
    """The answers of a journal file; none if it is damaged: these requests are made again."""
    try:
        # Not by `splitlines`: texts of models have further line ends, such as U+2028.
        with path.open(encoding="utf-8", newline="\n") as file:
            lines = list(file)
        footer = AnswerFooter.from_json(lines.pop(), path)
        if footer.digest != digest_lines(lines):
            return {}
        return dict(json.loads(line) for line in lines)
    except (ValueError, IndexError, TypeError, UserError):
        return {}


def digest_lines(lines: Sequence[str]) -> str:
    """Digest of the lines of a journal file, as 32 hexadecimal digits."""
    return blake2b("".join(lines).encode(), digest_size=16).hexdigest()


def request_key(kind: str, arguments: Sequence[Any]) -> str:
    """Key of a request: its kind, as the method of lm-eval is named, and all its arguments."""
    text = json.dumps([kind, *arguments], sort_keys=True, ensure_ascii=False, default=repr)
    return sha256(text.encode()).hexdigest()


def answer_requests(
    journal: AnswerJournal,
    kind: str,
    requests: Sequence[Any],
    ask: Callable[[list[Any]], Sequence[Any]],
) -> list[Any]:
    """Answers to lm-eval's requests of one kind, in their order; equal requests are made once.

    `ask` asks the model. Sampled answers are not in the journal: each request has one of its own.

    Raises: StopRequested; UserError (BAD_DATA) if the model computes NaN.
    """
    if any(is_sampled(request) for request in requests):
        return list(ask(list(requests)))
    keys = [request_key(kind, request.args) for request in requests]
    pairs = zip(keys, requests, strict=True)
    rest = {key: request for key, request in pairs if key not in journal.answers}
    if rest:
        # Most are in the journal already, by the hook that the model calls for each answer.
        for key, answer in zip(rest, ask(list(rest.values())), strict=True):
            journal.add(key, require_number(answer))
    journal.write()
    return [restore_answer(journal.answers[key]) for key in keys]


def is_sampled(request: Any) -> bool:
    """Whether the answer of a request is drawn at random."""
    return any(isinstance(one, dict) and one.get("do_sample") for one in request.args)


def restore_answer(answer: Any) -> Any:
    """An answer as the model gives it: JSON has lists instead of tuples."""
    return tuple(answer) if isinstance(answer, list) else answer


def require_number(answer: Any) -> Any:
    """The answer. Raises: UserError (BAD_DATA) if its log-probability is NaN."""
    value = answer[0] if isinstance(answer, list | tuple) else answer
    if isinstance(value, float) and math.isnan(value):
        raise UserError(
            "the model computes NaN as the log-probability of an answer, so that no score would "
            "mean anything; look at its weights, or set engine.dtype=float32 or attention=eager",
            BAD_DATA,
        )
    return answer


class JournalHook:
    """What lm-eval's model calls for each answer, as `cache_hook`.

    `is_added` gets the key of each request that is answered.
    """

    def __init__(
        self, journal: AnswerJournal, is_added: Callable[[str], None] = lambda _: None
    ) -> None:
        self.journal, self.is_added = journal, is_added

    def add_partial(self, kind: str, arguments: Sequence[Any], answer: Any) -> None:
        """Add the answer to a request. Raises: as `answer_requests`."""
        key = request_key(kind, arguments)
        self.is_added(key)
        self.journal.add(key, require_number(answer))
