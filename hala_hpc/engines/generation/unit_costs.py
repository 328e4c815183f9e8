"""Costs of rows and units: counted per row, summed over the journal and the files of a unit."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

#: Prefix of the JSON keys of retries by reason.
RETRY_PREFIX = "again:"
#: The same of texts that were kept as they are.
UNTRANSLATED_PREFIX = "kept:"


@dataclass(slots=True)
class Costs:
    """Costs of the finished rows of a unit, with those of failed tries.

    Stored as a flat JSON object without zeros: in the footer of a journal segment, in the footer of
    a part, and in the marker of the unit.
    """

    texts: int = 0
    """Prompts of the rows."""
    texts_reused: int = 0
    """Those of them that reused an earlier answer."""
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    """Seconds of one worker, spread over its units as it happens; only sums have a meaning."""
    retries: Counter[str] = field(default_factory=Counter)
    """Number of retries by reason."""
    untranslated: Counter[str] = field(default_factory=Counter)
    """Number of texts that were kept as they are, by reason."""

    @classmethod
    def from_values(cls, values: Mapping[str, int | float]) -> Self:
        """Read costs from a JSON object; other keys are ignored."""
        return cls(
            texts=int(values.get("texts", 0)),
            texts_reused=int(values.get("texts_reused", 0)),
            tokens_in=int(values.get("tokens_in", 0)),
            tokens_out=int(values.get("tokens_out", 0)),
            seconds=values.get("seconds", 0.0),
            retries=_counts_with(RETRY_PREFIX, values),
            untranslated=_counts_with(UNTRANSLATED_PREFIX, values),
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read costs from a JSON text; zero if it is empty."""
        return cls.from_values(json.loads(text or "{}"))

    def to_values(self) -> dict[str, int | float]:
        """A flat JSON object without zeros."""
        values = {
            "texts": self.texts,
            "texts_reused": self.texts_reused,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "seconds": self.seconds,
            **{f"{RETRY_PREFIX}{reason}": count for reason, count in self.retries.items()},
            **{
                f"{UNTRANSLATED_PREFIX}{reason}": count
                for reason, count in self.untranslated.items()
            },
        }
        return {key: value for key, value in values.items() if value}

    def to_json(self) -> str:
        """The same as JSON text."""
        return json.dumps(self.to_values())

    def add(self, other: "Costs") -> None:
        """Add other costs to these."""
        self.texts += other.texts
        self.texts_reused += other.texts_reused
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.seconds += other.seconds
        self.retries.update(other.retries)
        self.untranslated.update(other.untranslated)

    def copy(self) -> "Costs":
        """A copy with counts of its own."""
        return replace(self, retries=self.retries.copy(), untranslated=self.untranslated.copy())

    def since(self, earlier: "Costs") -> "Costs":
        """What was added to these costs since they were `earlier`."""
        return Costs(
            self.texts - earlier.texts,
            self.texts_reused - earlier.texts_reused,
            self.tokens_in - earlier.tokens_in,
            self.tokens_out - earlier.tokens_out,
            self.seconds - earlier.seconds,
            self.retries - earlier.retries,
            self.untranslated - earlier.untranslated,
        )


def _counts_with(prefix: str, values: Mapping[str, int | float]) -> Counter[str]:
    """Return the counts of the keys with a prefix, by the rest of the key."""
    return Counter(
        {
            key.removeprefix(prefix): int(count)
            for key, count in values.items()
            if key.startswith(prefix)
        }
    )
