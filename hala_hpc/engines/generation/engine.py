"""The engine protocol: token ids of prompts go in, answers come out as they finish.

A new engine is one class that takes an `EngineConfig` and implements `Engine`. The setting
`engine.name` chooses it (see `engine_choice` and docs/adding-an-engine.md). The number of requests
in flight and the length of answers are limited in the same way for every engine: see
`answer_stream`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from hala_hpc.engines.generation.row_program import DEFAULT_SAMPLING, Sampling
from hala_hpc.engines.generation.settings import EngineSettings, PromptStyle


@dataclass(frozen=True)
class EngineConfig:
    """Arguments of the constructor of an engine."""

    model: str
    """Folder of the model, or a hub id."""
    settings: EngineSettings
    prompt_style: PromptStyle = "auto"
    template: str = ""
    """Template of most prompts, with `{name}` fields: its beginning may be tokenized in advance."""
    cache_folder: Path | None = None
    """Folder of the run for what any engine may reuse, such as compiled code; None for none."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt for the engine; the answer has the same `key`."""

    key: int
    ids: list[int]
    """Token ids, as `Engine.prompt_ids` gives them."""
    max_new_tokens: int
    sampling: Sampling = DEFAULT_SAMPLING
    prompt: str = ""
    """The user's text from which the ids were made."""
    is_verbatim: bool = False
    """Whether the answer is all text that is generated, without special tokens: no frame and no
    thinking is stripped, and only the tokenizer's end of a text ends it."""
    stop: tuple[str, ...] = ()
    """Texts after which a verbatim answer needs no more tokens; it may hold them and more."""


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer of the engine; `whole` is false if it was cut at its limit."""

    key: int
    text: str
    whole: bool
    tokens_in: int
    tokens_out: int
    label_probabilities: tuple[float, ...] = ()
    """Probability of each of `Sampling.labels`, sums to 1; empty if there were no labels."""
    reason: str = ""
    """Why there is no answer, if the engine knows (thinking without an end); else empty."""
    logprob: float | None = None
    """Log-probability of all its tokens together, as the model gave it, if `Sampling.logprobs`;
    None if the engine has none."""


class Engine(Protocol):
    """One engine for one model, started by its constructor; one at a time in a process.

    It is called from one thread. If a process of its own died, it raises `EngineDied`
    (`hala_hpc.core.errors`), and the job is retried elsewhere.
    """

    @property
    def settings(self) -> EngineSettings:
        """The settings with which it was started."""
        ...

    @property
    def max_num_seqs(self) -> int:
        """Maximum number of requests in one step."""
        ...

    @property
    def max_model_len(self) -> int:
        """Maximum number of tokens of a prompt and its answer together."""
        ...

    def prompt_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts for user texts; control tokens in a text must stay plain text."""
        ...

    def add(self, request: Request) -> None:
        """Add a request; no two requests in flight have the same key."""
        ...

    def step(self) -> list[Completion]:
        """Run one step; returns the answers that it finished, often none.

        Must return within `engine.step_timeout_s`.

        Raises: torch's OutOfMemoryError, or a RuntimeError with CUDA's message, if the GPU ran out
        of memory; the caller then calls `restart`.
        """
        ...

    def abort_all(self) -> None:
        """Abort all requests that are not finished."""
        ...

    def restart(self, max_num_seqs: int) -> None:
        """Restart with this `max_num_seqs` after the GPU ran out of memory.

        Requests in flight are dropped; the caller adds them again.
        """
        ...

    def processes(self) -> Sequence[BaseProcess]:
        """Processes that it needs, for the watchdog; none if it runs in this process."""
        ...

    def close(self) -> None:
        """Stop it and free its memory, so that another can start; also after a failed `restart`."""
        ...
