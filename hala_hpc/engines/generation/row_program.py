"""The program of a row: a generator that yields prompts, gets answers and returns the result."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from hala_hpc.data.corpus.index import CorpusIndex
from hala_hpc.data.corpus.reader import Kind, Row
from hala_hpc.engines.generation.rejection_cause import RejectionCause, classify_rejection

#: An answer has no room in the model's context.
TOO_LONG = "too_long"
#: An answer was cut at its limit.
TRUNCATED = "truncated"
#: An answer contains nothing but white space.
EMPTY = "empty"
#: An answer contains half a character (U+FFFD) that its prompt does not.
BROKEN = "broken_text"
#: A model began to think and did not finish.
UNFINISHED_THINKING = "unfinished_thinking"
#: The accelerator has no memory for a prompt even if it runs alone.
OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters of a prompt, where they differ from the engine's settings."""

    temperature: float | None = None
    """None uses the engine's setting."""
    seed: int = 0
    """Added to the seed of the engine."""
    repetition_penalty: float = 1.0
    labels: tuple[str, ...] = ()
    """The answer is one of these; `Answer.label_probabilities` has the probability of each."""
    logprobs: bool = False
    """Whether `Answer.logprob` is wanted."""


DEFAULT_SAMPLING = Sampling()


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt for the model. Equal text and sampling are generated once."""

    text: str
    """The user's text: the template with all fields filled in."""
    sampling: Sampling = DEFAULT_SAMPLING
    retry_reason: str = ""
    """The reason if it is a retry, for the counts; empty the first time."""
    untranslated_reason: str = ""
    """If it is not empty, the model is not asked: the text is its own answer, and counted."""
    context_characters: int = 0
    """Characters of the text that an answer is not the longer for: context and glossary."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of the model to a prompt; `reason` says why it is unusable, else it is empty."""

    text: str
    reason: str = ""
    label_probabilities: tuple[float, ...] = ()
    """Probability of each label, sums to 1; empty if there were no labels."""
    logprob: float | None = None
    """Log-probability of all tokens together; None if the engine has none."""
    tokens: int = 0
    """Number of these tokens; 0 without `logprob`."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row is not in the result, and the response of the model."""

    reason: str
    response: str = ""
    extra_values: dict[str, Any] = field(default_factory=dict)
    """Values of the task's extra columns, if there are any."""


#: Yields lists of prompts, gets the answers in the same order, and returns the row or a rejection.
RowProgram = Generator[list[Prompt], list[Answer], Row | Rejection]


class RowTask(Protocol):
    """What a stage does with the rows of a corpus."""

    kind: Kind
    """Kind of the output rows."""
    extra: dict[str, str]
    """Extra columns of the output rows and of rejected ones, with Arrow types."""
    wanted: frozenset[str] | None
    """Reasons of rejection that are expected and no fault; None for all."""

    def fit(self, room: int, count: Callable[[str], int]) -> None:
        """Set the maximum number of tokens of a text, and the function that counts them."""
        ...

    def program(self, row: Row) -> RowProgram:
        """Program of a row: yields its prompts, returns the output row or a rejection."""
        ...

    def fault(self, before: Row, after: Row) -> str:
        """What is wrong with a finished row that was read back; empty if nothing is."""
        ...


@dataclass(frozen=True)
class RowJob:
    """A task over the rows of a corpus, which are cut into units."""

    corpus: Path
    name: str
    """The corpus as the settings name it."""
    units: int
    task: RowTask
    empty_prompt: str = ""
    """The prompt around an empty text: all tokens beyond it belong to the text."""
    max_rejected_fraction: float = 1.0
    """Stop above this share of rows that are rejected for an unexpected reason."""
    gpus: int = 0
    """GPUs of each worker, to compute the GPU seconds until a stop."""

    @cached_property
    def index(self) -> CorpusIndex:
        """Positions of the rows in the corpus."""
        return CorpusIndex(self.corpus)

    @property
    def extra(self) -> dict[str, str]:
        """Columns of the output beside those of its kind: figures of the corpus, and the task's."""
        return {**self.index.figures, **self.task.extra}

    def counts_against_limit(self, reason: str) -> bool:
        """Whether rows rejected for this reason count against `max_rejected_fraction`."""
        return self.task.wanted is not None and reason not in self.task.wanted

    def cause_of(self, reason: str) -> RejectionCause:
        """Whether a rejection for this reason is caused by the row, or by the model."""
        return classify_rejection(reason, self.task.wanted)

    def range_of(self, unit: int) -> tuple[int, int]:
        """Index of the first row of a unit, and of the one after its last."""
        rows = self.index.rows
        return unit * rows // self.units, (unit + 1) * rows // self.units
