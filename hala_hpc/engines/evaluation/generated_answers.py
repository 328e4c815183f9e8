"""Answers that an engine generates to benchmark questions, as lm-eval's hf model would.

lm-eval's own class for vLLM returns nothing before all answers are there: no progress, no journal,
and nothing that notices an engine that hangs. Here the same prompts go through the protocol of all
engines.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.generation.batch import AnswerCount, stream_answers
from hala_hpc.engines.generation.engine import Engine, EngineConfig, Request
from hala_hpc.engines.generation.engine_choice import make_engine

#: Arguments of a request that an engine has a counterpart of; with others lm-eval answers itself.
ENGINE_ARGUMENTS = frozenset({"until", "max_gen_toks", "do_sample", "temperature"})
#: The context of an engine is a multiple of it, so that few lengths need an engine of their own.
CONTEXT_STEP = 1024


@dataclass(frozen=True)
class GenerationPrompt:
    """A question in tokens, and when its answer ends."""

    text: str
    ids: list[int]
    max_new_tokens: int
    stop: tuple[str, ...]
    """The answer ends before the first of these texts."""


def is_for_engine(arguments: dict[str, Any]) -> bool:
    """Whether an engine generates what lm-eval's hf model would with these arguments: greedily."""
    from lm_eval.models.utils import normalize_gen_kwargs

    known = normalize_gen_kwargs(arguments)
    return not known["do_sample"] and known.keys() <= ENGINE_ARGUMENTS


def make_prompt(lm: Any, text: str, arguments: dict[str, Any]) -> GenerationPrompt:
    """The tokens that lm-eval's hf model `lm` would read; a long question loses its first ones.

    Raises: UserError (CONFIG) if the model's context has no room for the longest answer.
    """
    from lm_eval.models.utils import normalize_gen_kwargs

    known = normalize_gen_kwargs(arguments, lm.max_gen_toks)
    limit, context = int(known["max_gen_toks"]), int(lm.max_length)
    if limit >= context:
        raise UserError(
            f"tasks: answers may have {limit} tokens, but the context of the model has {context}; "
            "leave out the tasks whose answers are generated, or lower max_gen_toks in their files",
            CONFIG,
        )
    ids = lm.tok_encode(text, left_truncate_len=context - limit)
    return GenerationPrompt(text, ids, limit, tuple(known["until"]))


def cut_answer(text: str, prompt: GenerationPrompt, end_of_text: str) -> str:
    """The answer before the texts that end it, as lm-eval cuts it."""
    from lm_eval.models.utils import postprocess_generated_text

    return str(postprocess_generated_text(text, [*prompt.stop, end_of_text], None))


class BenchmarkEngine:
    """The engine of one model, started when there is something to generate."""

    def __init__(self, config: EngineConfig, max_context: int) -> None:
        self.config, self.max_context = config, max_context
        self._engine: Engine | None = None

    def answer(
        self,
        prompts: Sequence[GenerationPrompt],
        count: AnswerCount,
        take: Callable[[int, str], None],
    ) -> None:
        """Generate all answers; `take` gets the index of a prompt and the text, in any order.

        Raises: StopRequested if the job must stop.
        """
        engine = self.start(max(len(one.ids) + one.max_new_tokens for one in prompts))
        requests = (
            Request(
                number,
                prompt.ids,
                prompt.max_new_tokens,
                prompt=prompt.text,
                is_verbatim=True,
                stop=tuple(text for text in prompt.stop if text),
            )
            for number, prompt in longest_first(prompts)
        )
        with closing(stream_answers(engine, requests, count)) as answers:
            for answer in answers:
                take(answer.key, answer.text)

    def start(self, tokens: int) -> Engine:
        """The engine, with a context of at least so many tokens."""
        if self._engine is not None and self._engine.max_model_len >= tokens:
            return self._engine
        self.close()
        context = min(self.max_context, -(-tokens // CONTEXT_STEP) * CONTEXT_STEP)
        # Greedy whatever the setting says, which is for translations.
        update = {"max_model_len": context, "temperature": 0.0}
        settings = self.config.settings.model_copy(update=update)
        self._engine = make_engine(
            EngineConfig(
                self.config.model,
                settings,
                self.config.prompt_style,
                cache_folder=self.config.cache_folder,
            )
        )
        return self._engine

    def close(self) -> None:
        """Stop the engine and free its memory, if it runs."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def longest_first(prompts: Sequence[GenerationPrompt]) -> list[tuple[int, GenerationPrompt]]:
    """The prompts with their indices: what needs the longest context begins first."""
    return sorted(enumerate(prompts), key=lambda one: -len(one[1].ids))
