"""The rows of corpora to learn from, as conversations, and how often each is learnt."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from hala_hpc.data.corpus.index import CorpusIndex
from hala_hpc.data.corpus.reader import Kind, Row, message_pairs
from hala_hpc.engines.generation.prompts import fill_template
from hala_hpc.engines.training.tokens.examples import Message

#: Reason of rows that the weight of their corpus leaves out.
WEIGHT = "weight"


@dataclass(frozen=True)
class TokenRow:
    """A row of a corpus as a conversation."""

    row_id: str
    """Shared by all messages of a row that give conversations of their own."""
    messages: list[Message]
    weight: float
    refused: str = ""
    """Why it is not learnt, where that was decided over the whole set."""


@dataclass(frozen=True)
class TrainingCorpus:
    """One corpus to learn from."""

    index: CorpusIndex
    kind: Kind
    weight: float
    prompt: str = ""
    """How a translation is asked for, where pairs are learnt."""

    def range_of(self, unit: int, units: int) -> tuple[int, int]:
        """First row of a unit and the one after its last."""
        rows = self.index.rows
        return unit * rows // units, (unit + 1) * rows // units

    def conversations(self, unit: int, units: int) -> Iterator[TokenRow]:
        """The rows of one of so many units, as they are."""
        for row in self.index.read(*self.range_of(unit, units)):
            yield TokenRow(row["id"], row["messages"], self.weight)

    def pairs(self, unit: int, units: int, reasons: Iterable[str]) -> Iterator[TokenRow]:
        """The pairs of one of so many units as questions and answers.

        `reasons` tells of each why it is not learnt, '' where it is. Raises ValueError where there
        are more or fewer than pairs.
        """
        rows = self.index.read(*self.range_of(unit, units))
        pairs = ((row["id"], *pair) for row in rows for pair in self._pairs_of(row))
        for (row_id, source, target), refused in zip(pairs, reasons, strict=True):
            asked = {"role": "user", "content": fill_template(self.prompt, {"text": source})}
            answer = {"role": "assistant", "content": target}
            yield TokenRow(row_id, [asked, answer], self.weight, refused)

    def _pairs_of(self, row: Row) -> Iterator[tuple[str, str]]:
        if self.kind == "pairs":
            yield row["source"], row["target"]
        else:
            yield from ((source, target) for _, source, target in message_pairs(row))


@dataclass(frozen=True)
class RowChoice:
    """Decides by a hash of each row's id: the same in any order and for any number of units."""

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

    def leaves_out(self, row_id: str, weight: float) -> bool:
        """Whether a corpus with this weight neither learns a row nor holds it out."""
        return weight < 1 and not self.copies(row_id, weight) and not self.is_held_out(row_id)

    def _chance(self, purpose: str, row_id: str) -> float:
        """A number from 0 up to 1 that seed, purpose and row decide."""
        text = f"{self.seed} {purpose} {row_id}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / 2**64
