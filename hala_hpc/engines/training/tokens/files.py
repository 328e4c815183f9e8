"""Token files: Arrow streams that `datasets` maps into memory, written once and read back.

Columns: `input_ids` and `labels` of a sequence, `length` (its tokens), `rows` (how many rows of the
corpus start in it: 0 for a later segment or a repetition). With packing also `seq_lengths`, the
lengths of the examples in the sequence, in order.
"""

from array import array
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Self

from hala_hpc.core.files import atomic_file, run_on_success
from hala_hpc.engines.training.tokens.examples import IGNORE_INDEX, Example
from hala_hpc.engines.training.tokens.packing import pack_examples

#: Sequences of a record batch; one batch is read from the disk at once.
BATCH_SEQUENCES = 1000
#: Tokens collected before they are packed together: 200 MB, and thousands of sequences, of which
#: only one is left half empty.
WINDOW_TOKENS = 25_000_000


@dataclass(frozen=True)
class PackedExample:
    """An example that waits to be written, in compact arrays."""

    ids: "array[int]"
    labels: "array[int]"
    rows: int
    """1 if a row of the corpus starts here, else 0."""

    @classmethod
    def from_example(cls, example: Example, rows: int) -> Self:
        """Convert an example into compact arrays."""
        return cls(array("i", example.input_ids), array("i", example.labels), rows)


class TokenWriter:
    """Writes examples into one file, each on its own or packed into sequences of `room` tokens.

    A context manager: the file gets its name when the block ends without an error. `seed` decides
    which of several examples of the same length share a sequence. `example_count` counts the
    examples.
    """

    def __init__(self, path: Path, room: int | None = None, seed: str = "") -> None:
        import pyarrow as pa

        self.room, self.seed, self.path = room, seed, path
        numbers = pa.list_(pa.int32())
        fields = {"input_ids": numbers, "labels": numbers, "length": pa.int32(), "rows": pa.int32()}
        self.schema = pa.schema(fields | ({"seq_lengths": numbers} if room else {}))
        self.example_count = 0
        self.waiting: list[PackedExample] = []
        self.tokens = 0
        self._stack = ExitStack()
        self._stream: Any = None

    def __enter__(self) -> Self:
        import pyarrow as pa

        temporary = self._stack.enter_context(atomic_file(self.path))
        self._stream = pa.ipc.new_stream(str(temporary), self.schema)
        self._stack.callback(self._stream.close)
        run_on_success(self._stack, self._write_waiting)
        return self

    def add(self, example: PackedExample) -> None:
        """Add an example; it is written once enough others wait."""
        self.example_count += 1
        self.waiting.append(example)
        self.tokens += len(example.ids)
        if self.tokens >= WINDOW_TOKENS or (
            self.room is None and len(self.waiting) >= BATCH_SEQUENCES
        ):
            self._write_waiting()

    def _write_waiting(self) -> None:
        examples, self.waiting, self.tokens = self.waiting, [], 0
        if self.room is None:
            sequences = [[example] for example in examples]
        else:
            Random(self.seed).shuffle(examples)
            packed = pack_examples([len(example.ids) for example in examples], self.room)
            sequences = [[examples[number] for number in numbers] for numbers in packed]
        for first in range(0, len(sequences), BATCH_SEQUENCES):
            self._write(sequences[first : first + BATCH_SEQUENCES])

    def _write(self, sequences: list[list[PackedExample]]) -> None:
        import numpy as np
        import pyarrow as pa

        def joined(parts: list["array[int]"], lengths: list[int]) -> Any:
            offsets = np.cumsum([0, *lengths], dtype=np.int32)
            return pa.ListArray.from_arrays(offsets, np.concatenate(parts))

        examples = [example for sequence in sequences for example in sequence]
        lengths = [sum(len(example.ids) for example in sequence) for sequence in sequences]
        columns = [
            joined([example.ids for example in examples], lengths),
            joined([example.labels for example in examples], lengths),
            pa.array(lengths, pa.int32()),
            pa.array([sum(example.rows for example in one) for one in sequences], pa.int32()),
        ]
        if self.room is not None:
            sizes = [[len(example.ids) for example in sequence] for sequence in sequences]
            columns.append(pa.array(sizes, pa.list_(pa.int32())))
        self._stream.write_batch(pa.record_batch(columns, schema=self.schema))

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


def count_token_file(path: Path) -> tuple[dict[str, int], Counter[int]]:
    """Read a token file; return its counts, and the number of its examples by length.

    The counts: sequences, rows, tokens, loss_tokens and the largest token.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    counts: Counter[str] = Counter(sequences=0, rows=0, tokens=0, loss_tokens=0)
    examples: Counter[int] = Counter()
    largest = -1
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            ids, labels = batch["input_ids"].flatten(), batch["labels"].flatten()
            assert batch["input_ids"].value_lengths().equals(batch["length"]), path
            assert batch["labels"].value_lengths().equals(batch["length"]), path
            counts["sequences"] += batch.num_rows
            counts["rows"] += pc.sum(batch["rows"]).as_py()
            counts["tokens"] += len(ids)
            counts["loss_tokens"] += pc.sum(pc.not_equal(labels, IGNORE_INDEX)).as_py()
            largest = max(largest, pc.max(ids).as_py())
            sizes = batch["seq_lengths"].flatten() if "seq_lengths" in batch.schema.names else None
            sizes = batch["length"] if sizes is None else sizes
            assert pc.sum(sizes).as_py() == len(ids), path
            examples.update(sizes.to_pylist())
    return {**counts, "largest_token": largest}, examples
