"""Which rows are held out, and how often the others are learnt: decided by hashes, row by row."""

from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True)
class RowChoice:
    """Decides about rows by their ids, the same in any order and for any number of units."""

    seed: int
    held_out: float
    """Share of the rows that is never learnt."""

    def is_held_out(self, row_id: str) -> bool:
        """Whether a row is kept apart; the same row in several corpora is so in all."""
        return self._chance("held-out", row_id) < self.held_out

    def copies(self, row_id: str, weight: float) -> int:
        """How often a row of a corpus with this weight is learnt in an epoch; on average `weight`.

        2.5 takes every row twice and a half of them once more.
        """
        whole = int(weight)
        return whole + (self._chance("weight", row_id) < weight - whole)

    def _chance(self, purpose: str, row_id: str) -> float:
        """A number from 0 up to 1 that seed, purpose and row decide."""
        text = f"{self.seed} {purpose} {row_id}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / 2**64
