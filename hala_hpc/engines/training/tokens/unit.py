"""The rows of a unit on their way into token files: read, chosen, tokenized, cut or refused."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Any

from hala_hpc.data.corpus.index import CorpusIndex
from hala_hpc.data.corpus.reader import Kind, message_pairs
from hala_hpc.engines.generation.prompts import fill
from hala_hpc.engines.training.tokens.examples import NOT_LEARNT, Example, ExampleMaker, Message
from hala_hpc.engines.training.tokens.files import Line, TokenWriter
from hala_hpc.engines.training.tokens.product import Notes, UnitFiles

#: Rows tokenized in one call: bounds memory, and lets the tokenizer use all cores.
BATCH_ROWS = 1000
#: Reason of rows that the weight of their corpus leaves out.
WEIGHT = "weight"


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

    def _chance(self, purpose: str, row_id: str) -> float:
        """A number from 0 up to 1 that seed, purpose and row decide."""
        text = f"{self.seed} {purpose} {row_id}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / 2**64


@dataclass(frozen=True)
class TokenPlan:
    """How examples become sequences."""

    max_length: int
    split: bool
    """Whether longer examples are cut into pieces; the maker of examples refuses them otherwise."""
    packing: bool


@dataclass
class TokenUnit:
    """Writes the rows of a unit and notes what becomes of each."""

    maker: ExampleMaker
    choice: RowChoice
    plan: TokenPlan
    notes: Notes = field(default_factory=Notes)

    def write(
        self, files: UnitFiles, rows: Iterable[TokenRow], go_on: Callable[[int], bool]
    ) -> bool:
        """Write both files, leaving out one that would be empty; False when told to stop.

        `go_on` is told how many rows were read so far.
        """
        room = self.plan.max_length if self.plan.packing else None
        seed = f"{self.choice.seed} {files.unit}"
        source = iter(rows)
        with (
            TokenWriter(files.learnt, room, seed) as learnt,
            TokenWriter(files.held_out) as measured,
        ):
            while batch := list(islice(source, BATCH_ROWS)):
                if not go_on(self.notes.rows_in):
                    return False
                self._take(batch, learnt, measured)
        for path, writer in ((files.learnt, learnt), (files.held_out, measured)):
            if not writer.lines:
                path.unlink()
        return True

    def _take(self, batch: list[TokenRow], learnt: TokenWriter, measured: TokenWriter) -> None:
        self.notes.rows_in += len(batch)
        wanted = [(row, times) for row in batch if (times := self._times(row)) != 0]
        self.notes.rejected[WEIGHT] += len(batch) - len(wanted)
        made = self.maker.encode([row.messages for row, _ in wanted])
        for (_, times), example in zip(wanted, made, strict=True):
            if isinstance(example, str):
                self.notes.rejected[example] += 1
            elif times is None:
                for line in self._measured(example):
                    measured.add(line)
            else:
                self._learn(example, times, learnt)

    def _times(self, row: TokenRow) -> int | None:
        """How often a row is learnt; None when it is held out."""
        if self.choice.is_held_out(row.row_id):
            return None
        return self.choice.copies(row.row_id, row.weight)

    def _learn(self, example: Example, times: int, writer: TokenWriter) -> None:
        self.notes.rows_repeated += times - 1
        for repetition in range(times):
            for number, piece in enumerate(self._pieces(example)):
                self.notes.lengths[len(piece.input_ids)] += 1
                writer.add(Line.of(piece, rows=int(repetition == number == 0)))

    def _measured(self, example: Example) -> list[Line]:
        """The pieces of a held-out row that teach something: the others have no loss."""
        pieces = [p for p in self._pieces(example) if any(t != NOT_LEARNT for t in p.labels)]
        return [Line.of(piece, rows=int(number == 0)) for number, piece in enumerate(pieces)]

    def _pieces(self, example: Example) -> list[Example]:
        return example.cut(self.plan.max_length) if self.plan.split else [example]
