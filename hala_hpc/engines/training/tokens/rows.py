"""The rows of training corpora as conversations, and how often each is used."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from hala_hpc.data.corpus.index import CorpusIndex
from hala_hpc.data.corpus.messages import TOOLS
from hala_hpc.data.corpus.reader import Kind, Row, message_pairs
from hala_hpc.engines.generation.prompts import fill_template
from hala_hpc.engines.training.tokens.outlines import Message, merge_system_turns

#: Reason for rows left out by the weight of their corpus.
WEIGHT = "weight"


@dataclass(frozen=True)
class TokenRow:
    """A row of a corpus as a conversation."""

    row_id: str
    """Shared by all conversations made from the messages of one row."""
    messages: Sequence[Message]
    weight: float
    refused: str = ""
    """Why it is not used, if that was decided over the whole set; else empty."""
    tools: str = ""
    """The tools of the conversation as JSON text."""


@dataclass(frozen=True)
class TrainingCorpus:
    """One training corpus."""

    index: CorpusIndex
    kind: Kind
    weight: float
    prompt: str = ""
    """Template of the translation prompt, for pairs."""
    merges_system: bool = False
    """Whether system texts go into the user turns after them."""

    def range_of(self, unit: int, units: int) -> tuple[int, int]:
        """Return the first row of a unit and the end of its rows."""
        rows = self.index.rows
        return unit * rows // units, (unit + 1) * rows // units

    def conversations(self, unit: int, units: int) -> Iterator[TokenRow]:
        """Yield the rows of one of `units` units as conversations."""
        for row in self.index.read(*self.range_of(unit, units)):
            messages: Sequence[Message] = row["messages"]
            messages = merge_system_turns(messages) if self.merges_system else messages
            yield TokenRow(row["id"], messages, self.weight, tools=row.get(TOOLS) or "")

    def pairs(self, unit: int, units: int, reasons: Iterable[str]) -> Iterator[TokenRow]:
        """Yield the pairs of one of `units` units as conversations of prompt and answer.

        `reasons` has for each pair why it is not used, '' if it is. Raises ValueError if their
        number differs from that of the pairs.
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
    """Decides by a hash of each row's id: independent of the order and the number of units."""

    seed: int
    held_out: float
    """Share of the rows that is held out for evaluation."""

    def is_held_out(self, row_id: str) -> bool:
        """Whether a row is held out; a row that is in several corpora is held out in all."""
        return self._chance("held-out", row_id) < self.held_out

    def copies(self, row_id: str, weight: float) -> int:
        """Return how often a row of a corpus is used per epoch, on average `weight` times.

        2.5 uses every row twice and half of them once more.
        """
        whole = int(weight)
        return whole + (self._chance("weight", row_id) < weight - whole)

    def leaves_out(self, row_id: str, weight: float) -> bool:
        """Whether a row of a corpus with this weight is neither used nor held out."""
        return weight < 1 and not self.copies(row_id, weight) and not self.is_held_out(row_id)

    def _chance(self, purpose: str, row_id: str) -> float:
        """Return a number from 0 to below 1, a hash of seed, purpose and row."""
        text = f"{self.seed} {purpose} {row_id}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / 2**64
