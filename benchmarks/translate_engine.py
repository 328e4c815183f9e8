"""The edge of the engine in the measurement: what goes in, what comes out, what it cost.

Random weights neither stop nor translate. So each answer gets the length of the stand-in
translation of its text, whoever asks for it, and on the worker's side the engine's tokens are
changed for those of the stand-in once they are made: decoding and checks then do their whole work.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.translate_workload import stand_in

Ids = tuple[int, ...]


@dataclass
class Tally:
    """What the engine did in one round."""

    steps: int = 0
    prompts: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    longest_out: int = 0
    tokens_cached: int = 0
    asked: list[Ids] = field(default_factory=list)
    """Prompt ids in the order in which they came."""

    def lower_bound(self, max_num_seqs: int) -> int:
        """Engine steps that this work needs at least, with so many answers at once."""
        return max(self.longest_out, -(-self.tokens_out // max_num_seqs))


class EngineEdge:
    """Stands between a vLLM `LLM` and whoever drives it."""

    def __init__(self, llm: Any, prompter: Any) -> None:
        self.llm, self.tokenizer = llm, llm.get_tokenizer()
        self.head, self.tail = len(prompter.head), len(prompter.tail)
        self.fixed_ids: list[int] = []
        self.tally = Tally()
        self.answers: dict[Ids, list[int]] = {}
        self.swaps = False
        engine = llm.llm_engine
        self._add, self._step = engine.add_request, engine.step
        engine.add_request, engine.step = self.add_request, self.step

    def answer(self, ids: Ids) -> list[int]:
        """Tokens of the stand-in translation of a prompt; worked out once."""
        if ids not in self.answers:
            words = self.tokenizer.decode(ids[self.head : len(ids) - self.tail])
            text = stand_in(words.partition("into Arabic:\n\n")[2] or words)
            self.answers[ids] = self.tokenizer(text, add_special_tokens=False)["input_ids"] or [0]
        return self.answers[ids]

    def add_request(self, name: str, prompt: Any, params: Any, *more: Any, **named: Any) -> Any:
        """Hand a request on with the length of its answer."""
        ids = tuple(prompt["prompt_token_ids"])
        self.tally.asked.append(ids)
        params.max_tokens = min(len(self.answer(ids)), params.max_tokens or 1 << 30)
        params.ignore_eos = True
        return self._add(name, prompt, params, *more, **named)

    def step(self) -> list[Any]:
        """One engine step, counted."""
        outputs: list[Any] = self._step()
        tally = self.tally
        tally.steps += 1
        for output in outputs:
            if output.finished:
                answer = output.outputs[0]
                tally.prompts += 1
                tally.tokens_in += len(output.prompt_token_ids)
                tally.tokens_out += len(answer.token_ids)
                tally.longest_out = max(tally.longest_out, len(answer.token_ids))
                tally.tokens_cached += output.num_cached_tokens or 0
                if self.swaps:
                    answer.token_ids = self.answer(tuple(output.prompt_token_ids))
                    answer.finish_reason = "stop"
        return outputs

    @contextmanager
    def round(self, swaps: bool) -> Iterator[Tally]:
        """A tally of its own, with an empty prefix cache; `swaps` puts the stand-ins in place."""
        self.llm.reset_prefix_cache()
        self.tally, self.swaps = Tally(), swaps
        yield self.tally

    def generate(self, prompts: Sequence[Ids]) -> None:
        """One raw call of the engine with all prompts in memory: the bar to reach."""
        from vllm import SamplingParams

        params = [
            SamplingParams(temperature=0, max_tokens=len(self.answer(ids)), detokenize=False)
            for ids in prompts
        ]
        inputs = [{"prompt_token_ids": list(ids)} for ids in prompts]
        outputs = self.llm.generate(inputs, params, use_tqdm=False)
        assert len(outputs) == len(prompts)


def shuffled(prompts: Sequence[Ids], seed: int) -> list[Ids]:
    """The prompts in an order that knows nothing of their lengths, as a corpus has it."""
    return random.Random(seed).sample(list(prompts), len(prompts))
