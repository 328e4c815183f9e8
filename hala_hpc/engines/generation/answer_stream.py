"""What is the same for every engine: how much it is given at once, how long answers may be."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from hala_hpc.engines.generation.engine import Completion, Engine, Request

#: Requests in flight per row that the engine generates at once: it must never run dry.
WINDOW_PER_SEQ = 2
#: Tokens that any answer may have, however short its text.
MIN_ANSWER_TOKENS = 64
#: Tokens of an answer per token of its text that are kept free when texts are cut: twice what
#: English takes in Arabic with vocabularies that were made for English.
ROOM_GROWTH = 3


class AnswerStream:
    """Requests through one engine: knows what is in flight, and what the engine has room for."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._requests: dict[int, Request] = {}

    @property
    def in_flight(self) -> int:
        """Requests whose answers are still to come."""
        return len(self._requests)

    @property
    def free_slots(self) -> int:
        """Requests that can be added before the engine has enough in hand."""
        return WINDOW_PER_SEQ * self.engine.max_num_seqs - len(self._requests)

    def add(self, request: Request) -> None:
        """Give a request to the engine."""
        self._requests[request.key] = request
        self.engine.add(request)

    def step(self) -> list[Completion]:
        """One step of the engine; the answers that it finished."""
        completions = self.engine.step()
        for completion in completions:
            del self._requests[completion.key]
        return completions

    def answers(
        self, requests: Iterable[Request], beat: Callable[[int], None] = lambda _: None
    ) -> Iterator[list[Completion]]:
        """Answers as they finish, a list after each engine step (often an empty one).

        Requests are taken only as there is room for them. Closing the iterator aborts what is not
        finished. `beat` is told before a step how many requests are in flight, and 0 after it: see
        `watchdog.EngineWatch`.
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
        """Start the engine anew with so many rows at once; what was in flight, oldest first."""
        left = list(self._requests.values())
        self._requests.clear()
        self.engine.restart(max_num_seqs)
        return left

    def abort_all(self) -> None:
        """Take back what is not finished."""
        if self._requests:
            self._requests.clear()
            self.engine.abort_all()


def compute_answer_limit(engine: Engine, prompt_tokens: int, text_tokens: int) -> int | None:
    """Tokens that an answer may have, or None when the model's context has no room for it.

    There must be room for an answer as long as its text, or as any answer may be.
    """
    settings, room = engine.settings, engine.max_model_len - prompt_tokens
    growth = MIN_ANSWER_TOKENS + int(settings.max_growth * text_tokens)
    limit = min(growth, settings.max_new_tokens)
    return min(room, limit) if room >= max(1, min(text_tokens, limit)) else None


def compute_text_limit(engine: Engine, fixed_tokens: int) -> int:
    """Tokens of a text for which context and settings have room for a long answer.

    `fixed_tokens` are those of a prompt around an empty text.
    """
    room = engine.max_model_len - fixed_tokens - MIN_ANSWER_TOKENS
    return max(1, min(room // (1 + ROOM_GROWTH), engine.settings.max_new_tokens // ROOM_GROWTH))
