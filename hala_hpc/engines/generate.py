"""Drives vLLM in process: prompt ids in, answers out as they finish, never drained in between."""

from collections.abc import Generator as Stream
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from hala_hpc.engines.engine_start import start_engine
from hala_hpc.engines.prompts import Prompter
from hala_hpc.engines.settings import EngineSettings, PromptStyle

#: Requests held by the engine per row that it generates at once: it must never run dry.
WINDOW_PER_SEQ = 2
#: Tokens that any answer may have, however short its text.
LEAST_ANSWER_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt for the engine; `key` comes back with its answer."""

    key: int
    ids: list[int]
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer of the engine; `whole` unless it was cut at its limit."""

    key: int
    text: str
    whole: bool
    tokens_in: int
    tokens_out: int


class Generator:
    """One engine for one model; use as a context manager, one at a time in a process."""

    def __init__(
        self, model: str, settings: EngineSettings, prompt_style: PromptStyle = "auto"
    ) -> None:
        self.settings = settings
        self.llm = start_engine(model, settings)
        self.tokenizer = self.llm.get_tokenizer()
        self.prompter = Prompter(self.tokenizer, prompt_style)
        self.max_model_len = int(self.llm.model_config.max_model_len)
        scheduler = self.llm.llm_engine.vllm_config.scheduler_config
        self.max_num_seqs = int(scheduler.max_num_seqs)
        self.steps = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the engine and free its memory, so that another can start."""
        from vllm.distributed import cleanup_dist_env_and_memory

        del self.llm
        cleanup_dist_env_and_memory()

    def answer_limit(self, prompt_tokens: int, text_tokens: int) -> int | None:
        """Tokens that an answer may have, or None when the model's context has no room for it.

        There must be room for an answer as long as its text, or as any answer may be.
        """
        room = self.max_model_len - prompt_tokens
        growth = LEAST_ANSWER_TOKENS + int(self.settings.max_growth * text_tokens)
        limit = min(growth, self.settings.max_new_tokens)
        return min(room, limit) if room >= max(1, min(text_tokens, limit)) else None

    def stream(self, requests: Iterator[Request]) -> Stream[list[Completion], None, None]:
        """Answers as they finish, a list after each engine step (often an empty one).

        Requests are taken only as there is room for them. Closing the iterator drops what is
        not finished.
        """
        window = WINDOW_PER_SEQ * self.max_num_seqs
        held: dict[str, Request] = {}
        try:
            while True:
                while len(held) < window and (request := next(requests, None)) is not None:
                    held[self._add(request)] = request
                if not held:
                    return
                yield self._step(held)
        finally:
            if held:
                self.llm.llm_engine.abort_request(list(held))

    def _add(self, request: Request) -> str:
        from vllm import SamplingParams
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind

        sampling = SamplingParams(
            temperature=self.settings.temperature,
            seed=self.settings.seed,
            max_tokens=request.max_new_tokens,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        name = str(request.key)
        self.llm.llm_engine.add_request(name, tokens_input(request.ids), sampling)
        return name

    def _step(self, held: dict[str, Request]) -> list[Completion]:
        finished = [out for out in self.llm.llm_engine.step() if out.finished]
        self.steps += 1
        answers = [list(out.outputs[0].token_ids) for out in finished]
        texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True) if answers else []
        completions = []
        for out, answer, text in zip(finished, answers, texts, strict=True):
            request = held.pop(out.request_id)
            whole = out.outputs[0].finish_reason == "stop"
            completions.append(Completion(request.key, text, whole, len(request.ids), len(answer)))
        return completions
