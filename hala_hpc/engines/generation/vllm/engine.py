"""Drives vLLM in process: prompt ids in, answers out as they finish, never drained in between.

On a GPU the engine's core is a process of its own, so that what is done here between two steps
(decoding, checks, commits) does not hold it up as long as it has requests to go on with.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hala_hpc.engines.generation.prompts import Prompter
from hala_hpc.engines.generation.row_program import AS_SET, Sampling
from hala_hpc.engines.generation.settings import EngineSettings, PromptStyle
from hala_hpc.engines.generation.vllm.choices import choice_sampling, choice_shares
from hala_hpc.engines.generation.vllm.startup import start_engine

#: Requests held by the engine per row that it generates at once: it must never run dry.
WINDOW_PER_SEQ = 2
#: Tokens that any answer may have, however short its text.
LEAST_ANSWER_TOKENS = 64
#: Tokens of one engine step below which an engine that ran out of memory is not cut.
LEAST_STEP_TOKENS = 2048
#: Tokens of an answer per token of its text that are kept free when texts are cut: twice what
#: English takes in Arabic with vocabularies that were made for English.
ROOM_GROWTH = 3


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt for the engine; `key` comes back with its answer."""

    key: int
    ids: list[int]
    max_new_tokens: int
    sampling: Sampling = AS_SET


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer of the engine; `whole` unless it was cut at its limit."""

    key: int
    text: str
    whole: bool
    tokens_in: int
    tokens_out: int
    shares: tuple[float, ...] = ()


class Generator:
    """One engine for one model; use as a context manager, one at a time in a process.

    `cache_folder` holds what engines compiled before (see `compile_cache`).
    """

    def __init__(
        self,
        model: str,
        settings: EngineSettings,
        prompt_style: PromptStyle = "auto",
        cache_folder: Path | None = None,
    ) -> None:
        self.model, self.settings, self.cache_folder = model, settings, cache_folder
        self.held: dict[str, Request] = {}
        self.steps = 0
        self._start(settings)
        self.tokenizer = self.llm.get_tokenizer()
        self.prompter = Prompter(self.tokenizer, prompt_style)

    def _start(self, settings: EngineSettings) -> None:
        self.llm = start_engine(self.model, settings, self.cache_folder)
        self.engine: Any = self.llm.llm_engine
        self.max_model_len = int(self.llm.model_config.max_model_len)
        scheduler = self.engine.vllm_config.scheduler_config
        self.max_num_seqs = int(scheduler.max_num_seqs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the engine and free its memory, so that another can start."""
        self._end()

    def _end(self) -> None:
        from vllm.distributed import cleanup_dist_env_and_memory

        del self.llm, self.engine
        cleanup_dist_env_and_memory()

    def restart(self, max_num_seqs: int) -> list[Request]:
        """Start a new engine that runs fewer rows at once; returns what the old one had in hand."""
        left = list(self.held.values())
        self.held.clear()
        scheduler = self.engine.vllm_config.scheduler_config
        # The tokens of a step take memory, too; fewer than these would only be slow.
        tokens = max(LEAST_STEP_TOKENS, max_num_seqs, scheduler.max_num_batched_tokens // 4)
        tokens = min(tokens, scheduler.max_num_batched_tokens)
        sizes = {"max_num_seqs": max_num_seqs, "max_num_batched_tokens": tokens}
        self._end()
        self._start(self.settings.model_copy(update=sizes))
        return left

    @property
    def room(self) -> int:
        """Requests that can be added before the engine has enough in hand."""
        return WINDOW_PER_SEQ * self.max_num_seqs - len(self.held)

    def answer_limit(self, prompt_tokens: int, text_tokens: int) -> int | None:
        """Tokens that an answer may have, or None when the model's context has no room for it.

        There must be room for an answer as long as its text, or as any answer may be.
        """
        room = self.max_model_len - prompt_tokens
        growth = LEAST_ANSWER_TOKENS + int(self.settings.max_growth * text_tokens)
        limit = min(growth, self.settings.max_new_tokens)
        return min(room, limit) if room >= max(1, min(text_tokens, limit)) else None

    def text_room(self, fixed_tokens: int) -> int:
        """Tokens of a text for which context and settings have room for a long answer."""
        room = self.max_model_len - fixed_tokens - LEAST_ANSWER_TOKENS
        return max(1, min(room // (1 + ROOM_GROWTH), self.settings.max_new_tokens // ROOM_GROWTH))

    def stream(
        self, requests: Iterable[Request], beat: Callable[[int], None] = lambda _: None
    ) -> Iterator[list[Completion]]:
        """Answers as they finish, a list after each engine step (often an empty one).

        Requests are taken only as there is room for them. Closing the iterator drops what is
        not finished. `beat` is told before a step how many requests the engine holds, and 0 after
        it: see `watchdog.EngineWatch`.
        """
        waiting = iter(requests)
        try:
            while True:
                for request in islice(waiting, self.room):
                    self.add(request)
                if not self.held:
                    return
                beat(len(self.held))
                finished = self.step()
                beat(0)
                yield finished
        finally:
            self.drop()

    def add(self, request: Request) -> None:
        """Give a request to the engine."""
        from vllm.inputs.engine import tokens_input

        name = str(request.key)
        self.held[name] = request
        self.engine.add_request(name, tokens_input(request.ids), self._params(request))

    def _params(self, request: Request) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = request.sampling
        options: dict[str, Any] = {
            "temperature": self.settings.temperature
            if sampling.temperature is None
            else sampling.temperature,
            "seed": self.settings.seed + sampling.seed,
            "repetition_penalty": sampling.repetition_penalty,
            "max_tokens": request.max_new_tokens,
        }
        if sampling.choices:
            options |= choice_sampling(self.tokenizer, sampling.choices)
        return SamplingParams(**options, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY)

    def step(self) -> list[Completion]:
        """One step of the engine; the answers that it finished."""
        finished = [out for out in self.engine.step() if out.finished]
        self.steps += 1
        if not finished:
            return []
        answers = [list(out.outputs[0].token_ids) for out in finished]
        texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [
            self._completion(out, answer, text)
            for out, answer, text in zip(finished, answers, texts, strict=True)
        ]

    def _completion(self, out: Any, answer: list[int], text: str) -> Completion:
        request = self.held.pop(out.request_id)
        shares: tuple[float, ...] = ()
        whole = out.outputs[0].finish_reason == "stop"
        if choices := request.sampling.choices:
            shares = choice_shares(out.outputs[0], self.tokenizer, choices)
            text, whole = choices[shares.index(max(shares))], True
        return Completion(request.key, text, whole, len(request.ids), len(answer), shares)

    def drop(self) -> None:
        """Take back what is not finished."""
        if self.held:
            self.engine.abort_request(list(self.held))
            self.held.clear()
