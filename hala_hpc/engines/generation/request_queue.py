"""Sends the prompts of many rows through one engine: each once, the longest first."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import count

from hala_hpc.core.out_of_memory import is_gpu_out_of_memory
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.generation.answer_cache import AnswerCache, SharedAnswers, compute_answer_key
from hala_hpc.engines.generation.answer_stream import (
    AnswerStream,
    compute_answer_limit,
    compute_text_limit,
)
from hala_hpc.engines.generation.engine import Completion, Engine, Request
from hala_hpc.engines.generation.row_program import (
    BROKEN,
    EMPTY,
    OUT_OF_MEMORY,
    TOO_LONG,
    TRUNCATED,
    Answer,
    Prompt,
)
from hala_hpc.engines.generation.unit_state import RowInProgress

#: Prompts that are read ahead for each of `max_num_seqs`. The longest go first, so that no long one
#: is left for the end, when the engine is half empty. With four, a worker took 17 % more steps than
#: 2,000 texts need with `max_num_seqs` 128; with twelve, none.
AHEAD_PER_SEQ = 12
#: Minimum number of prompts that are read ahead, also for a small `max_num_seqs`.
MIN_AHEAD = 64
#: Factor by which `max_num_seqs` shrinks after an engine ran out of memory. A start takes a minute
#: or more, so the row that causes it is to be found in few starts.
SHRINK = 4

#: The rows that wait for an answer, each with the index of the prompt in that row.
WaitingRows = list[tuple[RowInProgress, int]]
Delivery = tuple[WaitingRows, Answer]


class RequestQueue:
    """Sends prompts of rows to the engine, and returns each answer with the rows that wait."""

    def __init__(self, engine: Engine, empty_prompt: str, out: UnitContext) -> None:
        self.engine, self.out = engine, out
        self.stream = AnswerStream(engine)
        self.full_size = engine.max_num_seqs
        self.restarting: Callable[[], AbstractContextManager[object]] = nullcontext
        """Context manager that is active while the engine restarts."""
        self.fixed_tokens = len(engine.prompt_ids([empty_prompt])[0])
        self.fixed_characters = len(empty_prompt)
        self.answers = AnswerCache()
        self.shared = SharedAnswers(out.shared, out.worker, self.answers)
        self.max_ahead = max(MIN_AHEAD, AHEAD_PER_SEQ * engine.max_num_seqs)
        self.tokens = 0
        self._new: list[tuple[bytes, Prompt]] = []
        self._window: list[Request] = []
        self._queue: deque[Request] = deque()
        self._numbers = count()
        self._pending: dict[int, tuple[bytes, Prompt]] = {}
        self._waiting: dict[bytes, WaitingRows] = {}

    def measure(self) -> tuple[int, Callable[[str], int]]:
        """Maximum number of tokens of a text, and the function that counts them."""
        prompt_ids = self.engine.prompt_ids
        empty = len(prompt_ids([""])[0])
        limit = compute_text_limit(self.engine, self.fixed_tokens)
        return limit, lambda text: len(prompt_ids([text])[0]) - empty

    @property
    def ahead(self) -> int:
        """Number of prompts that wait for the engine."""
        return len(self._new) + len(self._window) + len(self._queue)

    @property
    def needs_requests(self) -> bool:
        """Whether the engine has more free slots than there are sorted requests."""
        return len(self._queue) < self.stream.free_slots

    @property
    def is_idle(self) -> bool:
        """Whether no prompt waits and no request is in flight."""
        return not self.ahead and not self.stream.in_flight

    def put(self, row: RowInProgress) -> list[tuple[int, Answer]]:
        """Add the prompts of a row; returns index and answer of those that are known."""
        known = []
        for place, prompt in enumerate(row.prompts):
            if prompt.untranslated_reason:
                row.costs.untranslated[prompt.untranslated_reason] += 1
                known.append((place, Answer(prompt.text)))
                continue
            key = compute_answer_key(prompt)
            row.costs.texts += 1
            if prompt.retry_reason:
                row.costs.retries[prompt.retry_reason] += 1
            if key in self._waiting:
                self.answers.count(key)
                self._waiting[key].append((row, place))
                row.costs.texts_reused += 1
            elif (answer := self.answers.get(key)) is not None:
                known.append((place, answer))
                row.costs.texts_reused += 1
            else:
                self._waiting[key] = [(row, place)]
                self._new.append((key, prompt))
        return known

    def prepare(self) -> Iterator[Delivery]:
        """Tokenize the new prompts in one call; yields answers to those that are too long."""
        new, self._new = self._new, []
        every = self.engine.prompt_ids([prompt.text for _, prompt in new]) if new else []
        for (key, prompt), ids in zip(new, every, strict=True):
            limit = compute_answer_limit(self.engine, len(ids), self._text_tokens(prompt, len(ids)))
            if prompt.sampling.labels:
                limit = 1 if len(ids) < self.engine.max_model_len else None
            if limit is None:
                yield self._answer(key, Answer("", TOO_LONG))
                continue
            request = Request(next(self._numbers), ids, limit, prompt.sampling, prompt.text)
            self._pending[request.key] = (key, prompt)
            if prompt.retry_reason:
                # Retries go first: rows that are nearly finished hold up their units.
                self._queue.appendleft(request)
            else:
                self._window.append(request)

    def _text_tokens(self, prompt: Prompt, tokens: int) -> int:
        """Tokens of the text that is answered, of a prompt with so many tokens.

        Those of a context are taken off by their share of the characters.
        """
        given = tokens - self.fixed_tokens
        if not prompt.context_characters:
            return given
        characters = max(1, len(prompt.text) - self.fixed_characters)
        return max(1, given - given * prompt.context_characters // characters)

    def sort_remaining(self) -> None:
        """Sort all waiting requests, the longest first; called when nothing more will be read."""
        self._window[:0] = self._queue
        self._queue.clear()
        self._sort_window()

    def _sort_window(self) -> None:
        """Sort the requests that were read ahead, and append them to the queue, longest first."""
        self._queue.extend(sorted(self._window, key=lambda request: -len(request.ids)))
        self._window.clear()

    def feed(self) -> None:
        """Fill the free slots of the engine, with the longest of what was read ahead first."""
        if self.needs_requests:
            self._sort_window()
        for _ in range(min(self.stream.free_slots, len(self._queue))):
            self.stream.add(self._queue.popleft())

    def step(self) -> Iterator[Delivery]:
        """Run one engine step; yields its answers."""
        completions = self._step()
        if completions is None:
            yield from self._restart_smaller()
            return
        for completion in completions:
            key, prompt = self._pending.pop(completion.key)
            self.tokens += completion.tokens_out
            costs = self._waiting[key][0][0].costs
            costs.tokens_in += completion.tokens_in
            costs.tokens_out += completion.tokens_out
            yield self._answer(key, judge_completion(completion, prompt.text))

    def _step(self) -> list[Completion] | None:
        """Run one engine step; None if the GPU ran out of memory.

        The caller restarts outside of the `except`: there the error is gone, which references the
        old engine.
        """
        try:
            return self.stream.step()
        except Exception as error:
            if is_gpu_out_of_memory(error, self.out.read_new_log()):
                return None
            raise

    def _restart_smaller(self) -> Iterator[Delivery]:
        """Restart with fewer rows at once after the GPU ran out of memory.

        In the end the row that runs out of memory alone is rejected.
        """
        alone = self.engine.max_num_seqs == 1
        if alone:
            self.full_size = max(1, self.full_size // 2)
        size = self.full_size if alone else max(1, self.engine.max_num_seqs // SHRINK)
        with self.restarting():
            left = self.stream.restart(size)
        if alone:
            key, _ = self._pending.pop(left.pop(0).key)
            yield self._answer(key, Answer("", OUT_OF_MEMORY))
        self._queue.extendleft(reversed(left))

    def _answer(self, key: bytes, answer: Answer) -> Delivery:
        self.answers.put(key, answer)
        return self._waiting.pop(key), answer

    def close(self) -> None:
        """Abort what is not answered, and close the cache."""
        self.stream.abort_all()
        self.answers.close()


def judge_completion(completion: Completion, prompt: str) -> Answer:
    """Convert a completion to an answer, with a reason if it is cut, empty or broken."""
    text = completion.text.strip()
    if completion.reason:
        return Answer(text, completion.reason)
    if not completion.whole:
        return Answer(text, TRUNCATED)
    if not text:
        return Answer(text, EMPTY)
    broken = "\ufffd" in text and "\ufffd" not in prompt
    answer = Answer(text, BROKEN if broken else "", completion.label_probabilities)
    if completion.logprob is None:
        return answer
    return replace(answer, logprob=completion.logprob, tokens=completion.tokens_out)
