"""Settings of the cheap rules that pairs must pass before the judge.

The rules and their sources are in `pair_filters`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Rule = Literal[
    "blank",
    "control_sequence",
    "broken_letters",
    "entity",
    "subtitle_code",
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
    """Bounds of the rules that pairs must pass before the judge."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    disabled: list[Rule] = Field(default=[])
    """Names of rules that are not applied."""
    min_characters: PositiveInt = 2
    """Minimum characters of either side, else `too_short`."""
    max_characters: PositiveInt = 3000
    """Maximum characters of either side, else `too_many_characters`."""
    min_letters: float = Field(default=0.3, ge=0, le=1)
    """Minimum share of letters in the visible characters of either side, else `few_letters`."""
    max_length_ratio: float = Field(default=2.5, ge=1)
    """Maximum ratio of the longer to the shorter side in characters, with 15 added to both, else
    `length_ratio`. For a language without an alphabet use about twice as much."""
    max_copied: float = Field(default=0.9, ge=0, le=1)
    """A pair is rejected as `copied` from this share on. It is the share of the target's letters in
    words that are in the source too."""
    min_same_digits: float = Field(default=0.5, ge=0, le=1)
    """Minimum share of the digits of both sides, without zeros, that both have, else
    `other_numbers`. Applies if a side has at least three digits."""
