"""Choose the pairs that a translator is trained on: translated ones, without duplicates.

Every worker decides this by itself in one pass over all corpora, before its first unit. The choice
depends only on the order of the corpora and their rows, so all workers get the same, for any units.
Of equal pairs the first is used. Memory is bounded: hashes of 16 bytes are stored on the disk and
compared bucket by bucket, and one byte of each pair stays in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hala_hpc.data.corpus.reader import COLUMNS, read_batches
from hala_hpc.data.ingest.shard_plan import find_later_duplicates
from hala_hpc.data.ingest.verify import slice_bytes
from hala_hpc.engines.training.tokens.rows import WEIGHT, RowChoice, TrainingCorpus

#: Reason for a message that the translate stage left unchanged, or a target equal to its source.
UNTRANSLATED = "not_translated"
#: Reason for a pair that is identical to an earlier one.
REPEATED = "repeated"
#: Each pair is stored as the index of its reason here; '' means that it is used.
REASONS = ("", UNTRANSLATED, REPEATED, WEIGHT)
#: Rows processed in one call.
BATCH_ROWS = 4096
#: Pairs whose hashes are compared at once: about 100 bytes each while they are sorted.
BUCKET_PAIRS = 2_000_000


@dataclass(frozen=True)
class PairChoice:
    """The decision about every pair of all corpora."""

    codes: Any
    """Index into REASONS of each pair, in the order of the corpora; numpy uint8."""
    starts: Sequence[Sequence[int]]
    """For each corpus the index of the first pair of each unit, and the end of the last."""

    def reasons(self, source: int, unit: int) -> Iterator[str]:
        """Yield for each pair of a unit of a corpus why it is not used; '' if it is."""
        first, last = self.starts[source][unit : unit + 2]
        return (REASONS[code] for code in self.codes[first:last].tolist())


def choose_pairs(
    sources: Sequence[TrainingCorpus],
    rows: RowChoice,
    units: int,
    file: Path,
    is_stopped: Callable[[], bool],
) -> PairChoice | None:
    """Decide about every pair of all corpora; None if a stop was requested.

    `file` stores the hashes and is removed at the end.

    Raises: UserError (BAD_DATA) if a corpus is torn.
    """
    import numpy as np

    codes: list[Any] = [np.zeros(0, np.uint8)]
    starts: list[list[int]] = []
    pairs = 0
    try:
        with file.open("wb") as hashes:
            for source in sources:
                counter = UnitStarts(source, units, pairs)
                for batch in batches_of_pairs(source):
                    if is_stopped():
                        return None
                    hashes.write(batch.hashes())
                    codes.append(batch.codes(rows, source.weight))
                    counter.add(batch.counts)
                starts.append(counter.ended())
                pairs = starts[-1][-1]
        whole = np.concatenate(codes)
        flag_repeated(whole, file)
    finally:
        file.unlink(missing_ok=True)
    return PairChoice(whole, starts)


class UnitStarts:
    """Counts the pairs of a corpus, and records how many precede each unit."""

    def __init__(self, source: TrainingCorpus, units: int, pairs: int) -> None:
        self.firsts = [source.range_of(unit, units)[0] for unit in range(units)]
        self.rows, self.pairs = 0, pairs
        self.found: list[int] = []

    def add(self, counts: Any) -> None:
        """Advance past rows; `counts` are the pairs of each row, a numpy array."""
        import numpy as np

        before = self.pairs + np.concatenate([[0], np.cumsum(counts)])
        while len(self.found) < len(self.firsts):
            place = self.firsts[len(self.found)] - self.rows
            if place >= len(counts):
                break
            self.found.append(int(before[place]))
        self.rows += len(counts)
        self.pairs = int(before[-1])

    def ended(self) -> list[int]:
        """Return the index of the first pair of each unit, and the end of the last."""
        # Units after the last row have none.
        return [*self.found, *[self.pairs] * (len(self.firsts) - len(self.found) + 1)]


@dataclass(frozen=True)
class PairBatch:
    """The pairs of some rows, as Arrow arrays of texts."""

    ids: Any
    """Ids of the rows."""
    counts: Any
    """Pairs of each row, a numpy array."""
    sources: Any
    targets: Any

    def hashes(self) -> bytes:
        """Return a hash of 16 bytes for each pair."""
        import pyarrow as pa
        import pyarrow.compute as pc

        # The length defines where the source ends, whatever characters it has.
        lengths = pc.binary_length(self.sources).cast(pa.string())
        texts = pc.binary_join_element_wise(lengths, self.sources, self.targets, "\0")
        return b"".join(blake2b(text, digest_size=16).digest() for text in slice_bytes(texts))

    def codes(self, rows: RowChoice, weight: float) -> Any:
        """Return the decision for each pair on its own: not translated, or left out by weight."""
        import numpy as np
        import pyarrow.compute as pc

        trimmed = [pc.utf8_trim_whitespace(texts) for texts in (self.sources, self.targets)]
        same = pc.equal(*trimmed).to_numpy(zero_copy_only=False)
        left_out = [rows.leaves_out(row_id, weight) for row_id in self.ids.to_pylist()]
        codes = np.where(same, REASONS.index(UNTRANSLATED), 0)
        codes[np.repeat(np.array(left_out, bool), self.counts)] = REASONS.index(WEIGHT)
        return codes.astype(np.uint8)


def batches_of_pairs(source: TrainingCorpus) -> Iterator[PairBatch]:
    """Yield all pairs of a corpus in order. Raises: UserError (BAD_DATA) if it is torn."""
    import numpy as np
    import pyarrow.compute as pc

    columns = ["id", *COLUMNS[source.kind]]
    for part in dict.fromkeys(group.part for group in source.index.groups):
        for batch in read_batches(part, columns, BATCH_ROWS):
            ids = batch.column("id")
            if source.kind == "pairs":
                ones: Any = np.ones(len(ids), np.int64)
                yield PairBatch(ids, ones, batch.column("source"), batch.column("target"))
                continue
            before, after = batch.column("messages_source"), batch.column("messages")
            counts = pc.list_value_length(after).to_numpy(zero_copy_only=False)
            texts = (lists.flatten().flatten()[1] for lists in (before, after))
            yield PairBatch(ids, counts.astype(np.int64), *texts)


def flag_repeated(codes: Any, file: Path) -> None:
    """Flag in `codes` the used pairs that equal an earlier one, by their hashes."""
    import numpy as np

    if not len(codes):
        return
    hashes: Any = np.memmap(file, "<u8", "r").reshape(-1, 2)
    buckets = -(-len(codes) // BUCKET_PAIRS)
    for bucket in range(buckets):
        found = []
        for first in range(0, len(codes), BUCKET_PAIRS):
            here = slice(first, first + BUCKET_PAIRS)
            mine = (codes[here] == 0) & (hashes[here, 0] % buckets == bucket)
            found.append(np.flatnonzero(mine) + first)
        places = np.concatenate(found)
        codes[find_later_duplicates(hashes[places], places)] = REASONS.index(REPEATED)
