"""The rows that a unit tokenizes: the same share of every corpus, as conversations."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hala_hpc.data.corpus.index import CorpusIndex
from hala_hpc.data.corpus.reader import Kind, message_pairs
from hala_hpc.engines.generation.prompts import fill
from hala_hpc.engines.training.tokens.examples import Message


@dataclass(frozen=True)
class TokenRow:
    """A row of a corpus as a conversation."""

    row_id: str
    """Shared by all messages of a row that give conversations of their own."""
    messages: list[Message]
    weight: float


@dataclass(frozen=True)
class Source:
    """One corpus to learn from."""

    index: CorpusIndex
    kind: Kind
    weight: float
    prompt: str | None
    """How a translation is asked for; None where rows are conversations."""

    def range_of(self, unit: int, units: int) -> tuple[int, int]:
        """First row of a unit and the one after its last."""
        rows = self.index.rows
        return unit * rows // units, (unit + 1) * rows // units

    def rows(self, unit: int, units: int) -> Iterator[TokenRow]:
        """The conversations of one of so many units."""
        for row in self.index.read(*self.range_of(unit, units)):
            for messages in self._conversations(row):
                yield TokenRow(row["id"], messages, self.weight)

    def _conversations(self, row: dict[str, Any]) -> Iterator[list[Message]]:
        if self.prompt is None:
            yield row["messages"]
            return
        pairs = self.kind == "pairs"
        for _, source, target in (
            [("", row["source"], row["target"])] if pairs else message_pairs(row)
        ):
            yield [
                {"role": "user", "content": fill(self.prompt, {"text": source})},
                {"role": "assistant", "content": target},
            ]
