"""Figures of translated rows, by which a user cuts a corpus later: one column for each.

`translate` writes them, `filter` and `translate` keep those of their input. They describe how the
translation was made, and are no scores of its quality.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

#: Arrow types of the columns, by the names of the fields of `TranslationFigures`.
FIGURE_TYPES = {
    "mean_logprob": "double",
    "retried_share": "double",
    "retry_reasons": "list<string>",
    "length_ratio": "double",
    "protected_spans": "int64",
}


@dataclass(frozen=True, slots=True)
class TranslationFigures:
    """Figures of one row: of all its translated texts together."""

    mean_logprob: float | None
    """Mean natural logarithm of the probability of a token, over the answers that are in the row;
    the model's own, without temperature and penalty. None if nothing was asked or not requested."""
    retried_share: float
    """Share of the source's characters, 0 to 1, that were generated more than once."""
    retry_reasons: tuple[str, ...]
    """The reasons for that, sorted; each once."""
    length_ratio: float
    """Characters of the translations over those of their sources; 1 without a text."""
    protected_spans: int
    """Number of protected spans in the sources: code, LaTeX, addresses and the like."""

    def to_columns(self) -> dict[str, Any]:
        """Return the values by column."""
        return asdict(self) | {"retry_reasons": list(self.retry_reasons)}


@dataclass(frozen=True, slots=True)
class AnswerLogprob:
    """Log-probability of all tokens of an answer together, and their number."""

    total: float
    tokens: int


def compute_mean_logprob(answers: Iterable[AnswerLogprob]) -> float | None:
    """Compute the mean log-probability of a token; None without tokens."""
    total, tokens = 0.0, 0
    for answer in answers:
        total += answer.total
        tokens += answer.tokens
    return total / tokens if tokens else None
