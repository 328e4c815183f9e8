"""A layer around the engine in the measurement: requests, answers and their cost.

Random weights neither stop nor translate. So each answer gets the length of the stand-in
translation of its text on every side, and on the worker's side the engine's tokens are replaced by
those of the stand-in after generation: decoding and checks then do their whole work.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.translate.workload import BEFORE_TEXT, stand_in
from hala_hpc.engines.generation.vllm.engine import VllmEngine

Ids = tuple[int, ...]


@dataclass
class Tally:
    """Counts of the engine in one round."""

    steps: int = 0
    prompts: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    longest_out: int = 0
    tokens_cached: int = 0

    def lower_bound(self, max_num_seqs: int) -> int:
        """Return the minimum engine steps of this work, with so many answers at once."""
        return max(self.longest_out, -(-self.tokens_out // max_num_seqs))

    def count(self, output: Any) -> None:
        """Count an answer of the engine."""
        tokens = len(output.outputs[0].token_ids)
        self.prompts += 1
        self.tokens_in += len(output.prompt_token_ids)
        self.tokens_out += tokens
        self.longest_out = max(self.longest_out, tokens)
        self.tokens_cached += output.num_cached_tokens or 0


class EngineEdge:
    """Wraps a vLLM engine for its callers.

    `max_tokens` limits what the engine generates, never its replacement; `remembers` stores
    stand-ins for the next round, so that they take no time of a timed round.
    """

    def __init__(
        self, engine: VllmEngine, max_tokens: int = 1 << 30, remembers: bool = True
    ) -> None:
        self.llm, self.tokenizer = engine.llm, engine.tokenizer
        self.head, self.tail = len(engine.prompter.head), len(engine.prompter.tail)
        self.max_tokens, self.remembers = max_tokens, remembers
        self.tally = Tally()
        self.swaps = False
        self._answers: dict[Ids, list[int]] = {}
        driven = self.llm.llm_engine
        self._add, self._step = driven.add_request, driven.step
        driven.add_request, driven.step = self.add_request, self.step

    def prompt_text(self, ids: Ids) -> str:
        """Return the user's text in a prompt."""
        text: str = self.tokenizer.decode(ids[self.head : len(ids) - self.tail])
        return text

    def answer(self, ids: Ids) -> list[int]:
        """Return the tokens of the stand-in translation of a prompt."""
        if ids in self._answers:
            return self._answers[ids]
        text = stand_in(self.prompt_text(ids).partition(BEFORE_TEXT)[2])
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"] or [0]
        if self.remembers:
            self._answers[ids] = found
        return found

    def length(self, ids: Ids) -> int:
        """Return the number of tokens that the engine generates for a prompt."""
        return min(len(self.answer(ids)), self.max_tokens)

    def add_request(self, name: str, prompt: Any, params: Any, *more: Any, **named: Any) -> Any:
        """Forward a request with the length of its answer."""
        params.max_tokens = self.length(tuple(prompt["prompt_token_ids"]))
        params.ignore_eos = True
        return self._add(name, prompt, params, *more, **named)

    def step(self) -> list[Any]:
        """Do one engine step, and count it."""
        outputs: list[Any] = self._step()
        self.tally.steps += 1
        for output in outputs:
            if output.finished:
                self.tally.count(output)
                if self.swaps:
                    answer = output.outputs[0]
                    answer.token_ids = self.answer(tuple(output.prompt_token_ids))
                    answer.finish_reason = "stop"
        return outputs

    @contextmanager
    def round(self, swaps: bool) -> Iterator[Tally]:
        """Start new counts with an empty prefix cache; `swaps` replaces answers by stand-ins."""
        self.llm.reset_prefix_cache()
        self.tally, self.swaps = Tally(), swaps
        yield self.tally

    def generate(self, prompts: Sequence[Ids]) -> None:
        """Run one raw call of the engine with all prompts in memory: the reference."""
        from vllm import SamplingParams

        params = [SamplingParams(temperature=0, detokenize=False) for _ in prompts]
        inputs = [{"prompt_token_ids": list(ids)} for ids in prompts]
        outputs = self.llm.generate(inputs, params, use_tqdm=False)
        assert len(outputs) == len(prompts)
