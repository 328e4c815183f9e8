"""Settings of `prepare` for near duplicates, contamination and rules about answers.

They are not beside the searches, which need numpy: every command loads this file for the settings
of prepare.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from hala_hpc.core.settings import TableOrValue
from hala_hpc.data.ingest.damage_settings import RowSample

Finding = Literal["count", "reject"]
"""`count` only counts the rows, in `summary.json`; `reject` also rejects them."""
RuleUse = Literal["off", "count", "reject"]
"""What is done with the rows that a rule finds; `off` does not look for them."""
#: The rules about the answers of one row, in the order in which they are tried.
ANSWER_RULES = ("empty_answer", "placeholder_answer", "refusal", "copied_answer")
#: Reasons of the rows that these settings reject.
CONTAMINATED, REPEATED, NEAR_DUPLICATE = "contaminated", "repeated", "near-duplicate"
#: Reason of the rows that are not in the sample.
NOT_SAMPLED = "not-sampled"
#: Those that one row is enough for, in the order in which they are tried.
FEATURE_REASONS = (*(rule.replace("_", "-") for rule in ANSWER_RULES), CONTAMINATED)
QUALITY_REASONS = (*FEATURE_REASONS, REPEATED, NEAR_DUPLICATE, NOT_SAMPLED)
#: Below this similarity most rows would have to be compared with most others.
MIN_THRESHOLD = 0.5


class NearDuplicates(TableOrValue):
    """The search for rows that are nearly equal to an earlier one; may be given as `threshold`."""

    single: ClassVar[str] = "threshold"

    threshold: float = Field(default=0, ge=0, le=1)
    """Min Jaccard similarity of the shingles of two rows, 0.5 to 1; 0 does not search."""
    shingle_size: int = Field(default=3, ge=1, le=20)
    """Words of a shingle. The smaller, the more similar are short rows."""
    action: Finding = "reject"
    """reject: reject a row that is similar to an earlier one; count: only count and list them."""

    @field_validator("threshold")
    @classmethod
    def is_high_enough(cls, value: float) -> float:
        """Require 0, or a threshold for which few rows must be compared."""
        if 0 < value < MIN_THRESHOLD:
            raise ValueError(f"{value} is below {MIN_THRESHOLD}; give {MIN_THRESHOLD} to 1, or 0")
        return value


class RowRules(BaseModel):
    """Cheap rules about the answers of a row: `off`, `count` or `reject` each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    empty_answer: RuleUse = "reject"
    """An answer without any visible character, such as a zero-width space."""
    placeholder_answer: RuleUse = "off"
    """An answer that is only a placeholder, such as `N/A`, `null`, `TODO` or `...`."""
    refusal: RuleUse = "off"
    """An answer that starts with a refusal, or in which a model speaks of itself as a machine."""
    copied_answer: RuleUse = "off"
    """An answer equal to its question, apart from case, white space and punctuation."""
    repeated: RuleUse = "off"
    """Rows that are equal to `max_repeats` earlier ones, apart from numbers, case and
    punctuation."""
    max_repeats: PositiveInt = 100
    """Max rows that are equal in that way, for `repeated`."""


@dataclass(frozen=True)
class QualitySearches:
    """All of these settings, as a job reads them; can be pickled."""

    rules: RowRules = field(default_factory=RowRules)
    near: NearDuplicates = field(default_factory=NearDuplicates)
    contamination: Path | None = None
    """Folder of the index of n-grams; None if contamination is not searched."""
    contamination_action: Finding = "reject"
    sample: RowSample = field(default_factory=RowSample)

    def use_of(self, reason: str) -> RuleUse:
        """Return what is done with the rows of a reason."""
        if reason == NEAR_DUPLICATE:
            return self.near.action if self.near.threshold else "off"
        if reason == CONTAMINATED:
            return self.contamination_action if self.contamination else "off"
        use: RuleUse = getattr(self.rules, reason.replace("-", "_"))
        return use
