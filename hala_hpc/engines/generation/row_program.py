"""What a stage makes of a row: a short program that asks the model and returns the result."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from hala_hpc.data.corpus.index import CorpusIndex
from hala_hpc.data.corpus.reader import Kind, Row
from hala_hpc.engines.generation.rejection_cause import RejectionCause, classify_rejection

#: An answer has no room in the model's context.
TOO_LONG = "too_long"
#: An answer was cut at its limit.
TRUNCATED = "truncated"
#: An answer holds nothing but white space.
EMPTY = "empty"
#: An answer holds half a character (U+FFFD) that its prompt does not.
BROKEN = "broken_text"
#: A model began to think and came to no end of it.
UNFINISHED_THINKING = "unfinished_thinking"
#: A prompt that the accelerator has no memory for even when it runs alone.
OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn, where it is not as the engine's settings say."""

    temperature: float | None = None
    """None takes the engine's setting."""
    seed: int = 0
    """Added to the seed of the engine."""
    repetition_penalty: float = 1.0
    labels: tuple[str, ...] = ()
    """The answer is one of these, and `Answer.shares` tells how likely each is."""


DEFAULT_SAMPLING = Sampling()


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question to the model. Equal words and sampling are generated once."""

    text: str
    """The user's words: a prompt with everything filled in."""
    sampling: Sampling = DEFAULT_SAMPLING
    retry_reason: str = ""
    """The reason when it is asked again, for the counts; empty the first time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said to a question; `reason` tells why it is no good, else it is empty."""

    text: str
    reason: str = ""
    label_probabilities: tuple[float, ...] = ()
    """Probability of each choice, sums to 1; empty where there was no choice."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row is not in the result, and what the model said."""

    reason: str
    response: str = ""
    extra_values: dict[str, float | str] = field(default_factory=dict)
    """Values of the task's further columns, where there are any."""


#: Asks lists of questions, gets the answers in the same order, and returns what became of the row.
RowProgram = Generator[list[Prompt], list[Answer], Row | Rejection]


class RowTask(Protocol):
    """What a stage makes of the rows of a corpus."""

    kind: Kind
    """Kind of the rows that come out."""
    extra: dict[str, str]
    """Further columns of theirs and of rejected ones, with Arrow types."""
    wanted: frozenset[str] | None
    """Reasons of rejection that are no sign of trouble; None for all."""

    def fit(self, room: int, count: Callable[[str], int]) -> None:
        """Take note of the model: tokens that a text may have at most, and what counts them."""
        ...

    def program(self, row: Row) -> RowProgram:
        """The questions about a row, and the row or rejection that comes of the answers."""
        ...

    def fault(self, before: Row, after: Row) -> str:
        """What is wrong with a finished row that was read back; empty when nothing is."""
        ...


@dataclass(frozen=True)
class RowJob:
    """What is to be done: the rows of a corpus, cut into units, by a task."""

    corpus: Path
    name: str
    """The corpus as the settings name it."""
    units: int
    task: RowTask
    empty_prompt: str = ""
    """The prompt around an empty text: what is longer is the text's own."""
    max_rejected_fraction: float = 1.0
    """Stop above this share of rows that are rejected for a reason that is not wanted."""
    gpus: int = 0
    """GPUs of each worker, for what it costs until a stop."""

    @cached_property
    def index(self) -> CorpusIndex:
        """Where the rows of the corpus stand."""
        return CorpusIndex(self.corpus)

    def counts_against_limit(self, reason: str) -> bool:
        """Whether rows rejected for this reason count against `max_rejected_fraction`."""
        return self.task.wanted is not None and reason not in self.task.wanted

    def cause_of(self, reason: str) -> RejectionCause:
        """Whether rows rejected for this reason say something of themselves, or of the model."""
        return classify_rejection(reason, self.task.wanted)

    def range_of(self, unit: int) -> tuple[int, int]:
        """First row of a unit and the one after its last."""
        rows = self.index.rows
        return unit * rows // self.units, (unit + 1) * rows // self.units
