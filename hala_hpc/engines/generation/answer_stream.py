"""Limits that are the same for every engine: requests in flight, and tokens of an answer."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from hala_hpc.engines.generation.engine import Completion, Engine, Request

#: Requests in flight for each of `max_num_seqs`, so that the engine never runs out of them.
WINDOW_PER_SEQ = 2
#: Tokens that any answer may have, however short its text.
MIN_ANSWER_TOKENS = 64
#: Answer tokens reserved for each token of a text when texts are cut: twice what English takes in
#: Arabic with vocabularies that were made for English.
ROOM_GROWTH = 3


class AnswerStream:
    """Sends requests to one engine, and tracks which are in flight and how many more fit."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._requests: dict[int, Request] = {}

    @property
    def in_flight(self) -> int:
        """Number of requests that are not finished."""
        return len(self._requests)

    @property
    def free_slots(self) -> int:
        """Number of requests that can be added until the engine has enough."""
        return WINDOW_PER_SEQ * self.engine.max_num_seqs - len(self._requests)

    def add(self, request: Request) -> None:
        """Add a request to the engine."""
        self._requests[request.key] = request
        self.engine.add(request)

    def step(self) -> list[Completion]:
        """Run one engine step; returns the answers that it finished."""
        completions = self.engine.step()
        for completion in completions:
            del self._requests[completion.key]
        return completions

    def answers(
        self, requests: Iterable[Request], beat: Callable[[int], None] = lambda _: None
    ) -> Iterator[list[Completion]]:
        """Yield answers as they finish: a list after each engine step, often an empty one.

        Requests are taken only when slots are free. Closing the iterator aborts what is not
        finished. `beat` is called with the number of requests in flight before a step, and with 0
        after it: see `watchdog.EngineWatch`.
        """
        waiting = iter(requests)
        try:
            while True:
                for request in islice(waiting, self.free_slots):
                    self.add(request)
                if not self._requests:
                    return
                beat(self.in_flight)
                finished = self.step()
                beat(0)
                yield finished
        finally:
            self.abort_all()

    def restart(self, max_num_seqs: int) -> list[Request]:
        """Restart the engine with this `max_num_seqs`; returns what was in flight, oldest first."""
        left = list(self._requests.values())
        self._requests.clear()
        self.engine.restart(max_num_seqs)
        return left

    def abort_all(self) -> None:
        """Abort all requests that are not finished."""
        if self._requests:
            self._requests.clear()
            self.engine.abort_all()


def compute_answer_limit(engine: Engine, prompt_tokens: int, text_tokens: int) -> int | None:
    """Compute how many tokens an answer may have; None if the model's context has no room.

    There must be room for an answer as long as its text, or as long as any answer may be.
    """
    settings, room = engine.settings, engine.max_model_len - prompt_tokens
    growth = MIN_ANSWER_TOKENS + int(settings.max_growth * text_tokens)
    limit = min(growth, settings.max_new_tokens)
    return min(room, limit) if room >= max(1, min(text_tokens, limit)) else None


def compute_text_limit(engine: Engine, fixed_tokens: int) -> int:
    """Compute how many tokens a text may have so that context and settings fit a long answer.

    `fixed_tokens` are those of a prompt around an empty text.
    """
    room = engine.max_model_len - fixed_tokens - MIN_ANSWER_TOKENS
    return max(1, min(room // (1 + ROOM_GROWTH), engine.settings.max_new_tokens // ROOM_GROWTH))
