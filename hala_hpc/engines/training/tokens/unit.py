"""Write the rows of a unit into token files: choose, tokenize, split or refuse them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from hala_hpc.engines.training.tokens.examples import Example, ExampleMaker
from hala_hpc.engines.training.tokens.files import PackedExample, TokenWriter
from hala_hpc.engines.training.tokens.product import UnitFiles, UnitTally
from hala_hpc.engines.training.tokens.rows import WEIGHT, RowChoice, TokenRow

#: Rows tokenized in one call: bounds memory, and lets the tokenizer use all cores.
BATCH_ROWS = 1000
#: Reason for rows of which no token has a label.
NOTHING_TO_LEARN = "nothing_to_learn"


@dataclass(frozen=True)
class TokenPlan:
    """Settings that turn examples into sequences."""

    max_length: int
    split: bool
    """Whether longer examples are split into segments; otherwise `ExampleMaker` refuses them."""
    packing: bool


@dataclass
class TokenUnit:
    """Writes the rows of a unit and counts the outcome of each."""

    maker: ExampleMaker
    choice: RowChoice
    plan: TokenPlan
    notes: UnitTally = field(default_factory=UnitTally)

    def write(
        self, files: UnitFiles, rows: Iterable[TokenRow], may_continue: Callable[[int], bool]
    ) -> bool:
        """Write both files, except for empty ones; return False if a stop was requested.

        `may_continue` gets the number of rows read so far.
        """
        room = self.plan.max_length if self.plan.packing else None
        seed = f"{self.choice.seed} {files.unit}"
        source = iter(rows)
        with (
            TokenWriter(files.train, room, seed) as train,
            TokenWriter(files.held_out) as held_out,
        ):
            while batch := list(islice(source, BATCH_ROWS)):
                if not may_continue(self.notes.rows_in):
                    return False
                self._add_batch(batch, train, held_out)
        for path, writer in ((files.train, train), (files.held_out, held_out)):
            if not writer.example_count:
                path.unlink()
        return True

    def _add_batch(self, batch: list[TokenRow], train: TokenWriter, held_out: TokenWriter) -> None:
        self.notes.rows_in += len(batch)
        wanted = []
        for row in batch:
            times = self._times(row)
            if row.refused or times == 0:
                self.notes.rejected[row.refused or WEIGHT] += 1
            else:
                wanted.append((row, times))
        self.maker.template_errors = self.notes.template_errors
        rows = [row for row, _ in wanted]
        made = self.maker.encode([row.messages for row in rows], [row.tools for row in rows])
        for (_, times), example in zip(wanted, made, strict=True):
            segments = [] if isinstance(example, str) else self._segments(example)
            if isinstance(example, str):
                self.notes.rejected[example] += 1
            elif not segments:
                # All its labels were the first tokens of segments.
                self.notes.rejected[NOTHING_TO_LEARN] += 1
            elif times is None:
                for packed in packed_segments(segments):
                    held_out.add(packed)
            else:
                self._add_train(segments, times, train)

    def _times(self, row: TokenRow) -> int | None:
        """Return how often a row is used; None if it is held out."""
        if self.choice.is_held_out(row.row_id):
            return None
        return self.choice.copies(row.row_id, row.weight)

    def _add_train(self, segments: list[Example], times: int, writer: TokenWriter) -> None:
        self.notes.rows_repeated += times - 1
        for repetition in range(times):
            for packed in packed_segments(segments, rows=int(repetition == 0)):
                self.notes.lengths[len(packed.ids)] += 1
                writer.add(packed)

    def _segments(self, example: Example) -> list[Example]:
        """Return the segments of an example that have labels; the others have no loss."""
        segments = example.cut(self.plan.max_length) if self.plan.split else [example]
        return [segment for segment in segments if segment.has_labels]


def packed_segments(segments: list[Example], rows: int = 1) -> Iterator[PackedExample]:
    """Yield the segments of a row in compact arrays; the first counts as `rows` rows."""
    for number, segment in enumerate(segments):
        yield PackedExample.from_example(segment, rows=rows if number == 0 else 0)
