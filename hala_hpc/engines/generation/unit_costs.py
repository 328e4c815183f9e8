"""What rows and units cost: counted per row, summed over the pieces and the files of a unit."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

#: Keys of the counts by reason begin so where costs are kept.
RETRY_PREFIX = "again:"


@dataclass(slots=True)
class Costs:
    """What the finished rows of a unit cost, also what was lost on the way to them.

    Kept as a flat JSON object without zeros: in the last line of a piece, in the footer of a part,
    and in the mark of the unit.
    """

    texts: int = 0
    """Questions that were put."""
    texts_reused: int = 0
    """Those of them that were answered by an earlier answer."""
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    """Of one worker, shared among its units as it happens; only sums over units tell something."""
    retries: Counter[str] = field(default_factory=Counter)
    """How often a question was asked again, by reason."""

    @classmethod
    def from_values(cls, values: Mapping[str, int | float]) -> Self:
        """The costs in a JSON object; keys of another meaning are ignored."""
        return cls(
            texts=int(values.get("texts", 0)),
            texts_reused=int(values.get("texts_reused", 0)),
            tokens_in=int(values.get("tokens_in", 0)),
            tokens_out=int(values.get("tokens_out", 0)),
            seconds=values.get("seconds", 0.0),
            retries=Counter(
                {
                    key.removeprefix(RETRY_PREFIX): int(count)
                    for key, count in values.items()
                    if key.startswith(RETRY_PREFIX)
                }
            ),
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The costs in a JSON text; none in an empty one."""
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

    def since(self, earlier: "Costs") -> "Costs":
        """What was added to these costs since they were `earlier`."""
        return Costs(
            self.texts - earlier.texts,
            self.texts_reused - earlier.texts_reused,
            self.tokens_in - earlier.tokens_in,
            self.tokens_out - earlier.tokens_out,
            self.seconds - earlier.seconds,
            self.retries - earlier.retries,
        )
