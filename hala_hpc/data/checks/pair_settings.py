"""What can be said about the cheap rules that pairs must keep before a judge sees them.

The rules themselves, and where they come from, are in `pair_checker`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Rule = Literal[
    "blank",
    "too_short",
    "too_many_characters",
    "few_letters",
    "length_ratio",
    "copied",
    "other_numbers",
    "source_language",
    "target_language",
    "duplicate",
]


class PairRules(BaseModel):
    """Bounds of the rules that pairs must keep before the judge sees them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    disabled: list[Rule] = Field(default=[])
    """Rules that are not applied, by the reason they give."""
    min_characters: PositiveInt = 2
    """Characters of either side at least, else `too_short`."""
    max_characters: PositiveInt = 3000
    """Characters of either side at most, else `too_many_characters`."""
    min_letters: float = Field(default=0.3, ge=0, le=1)
    """Share of letters in the visible characters of either side at least, else `few_letters`."""
    max_length_ratio: float = Field(default=2.5, ge=1)
    """Characters of the longer side over those of the shorter, 15 added to both, at most; else
    `length_ratio`. For a language without an alphabet take about twice as much."""
    max_copied: float = Field(default=0.9, ge=0, le=1)
    """Share of the target's letters in words that stand in the source too, below which it is a
    translation, else `copied`."""
    min_same_digits: float = Field(default=0.5, ge=0, le=1)
    """Share of the digits of both sides, zeros left out, that both have, else `other_numbers`;
    where a side has at least three."""
