"""What an engine is: token ids of prompts in, answers out as they finish.

A new engine is one class that takes an `EngineConfig` and has what `Engine` lists; the setting
`engine.name` chooses it (see `engine_choice` and docs/adding-an-engine.md). How much an engine is
given at once, and how long answers may be, is the same for every engine: see `answer_stream`.
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
    """What an engine is started for."""

    model: str
    """Folder of the model, or a hub id."""
    settings: EngineSettings
    prompt_style: PromptStyle = "auto"
    template: str = ""
    """What most prompts are made from, with `{name}` places: the beginning may be prepared."""
    cache_folder: Path | None = None
    """Folder of the run for what any engine may use again, such as compiled code; None: nowhere."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt for the engine; `key` comes back with its answer."""

    key: int
    ids: list[int]
    """Token ids, as `Engine.prompt_ids` gives them."""
    max_new_tokens: int
    sampling: Sampling = DEFAULT_SAMPLING
    prompt: str = ""
    """The user's words of which the ids were made."""


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer of the engine; `whole` unless it was cut at its limit."""

    key: int
    text: str
    whole: bool
    tokens_in: int
    tokens_out: int
    label_probabilities: tuple[float, ...] = ()
    """Probability of each of `Sampling.choices`, sums to 1; empty where there was no choice."""
    reason: str = ""
    """Why there is no answer, where the engine knows: thinking without an end; else empty."""


class Engine(Protocol):
    """One engine for one model, started by its constructor; one at a time in a process.

    Called from one thread. A process of its own that died is an `EngineDied`
    (`hala_hpc.core.errors`), which is tried again elsewhere.
    """

    @property
    def settings(self) -> EngineSettings:
        """The settings it was started with."""
        ...

    @property
    def max_num_seqs(self) -> int:
        """Requests that it works at in one step at most."""
        ...

    @property
    def max_model_len(self) -> int:
        """Tokens of a prompt and its answer together at most."""
        ...

    def prompt_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts for the user's words, control tokens in words left harmless."""
        ...

    def add(self, request: Request) -> None:
        """Take a request; no two that are in flight have the same key."""
        ...

    def step(self) -> list[Completion]:
        """Work for a moment; the answers that were finished, often none.

        Must return within `engine.step_timeout_s`. Raises torch's OutOfMemoryError, or a RuntimeError
        with CUDA's message, where the GPU ran out of memory; `restart` follows then.
        """
        ...

    def abort_all(self) -> None:
        """Forget all requests that are not finished."""
        ...

    def restart(self, max_num_seqs: int) -> None:
        """Start anew, with so many requests at once, after the GPU ran out of memory.

        What was in flight is forgotten; the caller adds it again.
        """
        ...

    def processes(self) -> Sequence[BaseProcess]:
        """Processes without which it cannot go on, to be watched; none for one in this process."""
        ...

    def close(self) -> None:
        """End it and free its memory, so that another can start; also after a failed `restart`."""
        ...
