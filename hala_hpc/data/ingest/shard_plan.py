"""Decide for every row of an input, by id and size alone, whether it is kept and in which shard.

Of equal rows the first in the order of the input is kept. Kept rows go, in that order, each to
the shard that has the fewest bytes of text so far, so no two shards differ by more than the
longest row. Memory is bounded: ids are compared bucket by bucket, and the decisions, two bytes a
row, are in a file that is mapped.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from pathlib import Path
from typing import Any

from hala_hpc.data.ingest.spill import SpilledSplit

#: Rows whose ids are compared at a time: about 100 bytes each while they are sorted.
BUCKET_ROWS = 2_000_000
#: What stands for the shard of a row that has none.
REJECTED, DUPLICATE = -1, -2


@dataclass(frozen=True)
class ShardPlan:
    """What every shard must hold, known before one is written."""

    assignments: Any
    """Shard of every row in order, or REJECTED or DUPLICATE: a mapped array."""
    rows_in: list[int]
    """Rows of each shard, rejected ones included: those go by their line."""
    checksums: list[str]
    """Number and XOR of the ids of the kept rows of each shard."""
    digest: str
    """Hash of all ids and rejections in order: tells whether two workers read the same."""

    def by_split(self, reads: Sequence[SpilledSplit]) -> Iterator[tuple[SpilledSplit, Any]]:
        """Every piece and the places of its rows."""
        at = 0
        for read in reads:
            yield read, self.assignments[at : at + read.rows]
            at += read.rows


def plan_shards(reads: Sequence[SpilledSplit], units: int, file: Path) -> ShardPlan:
    """Decide about all rows; `file` takes the decisions."""
    import numpy as np

    total = sum(read.rows for read in reads)
    places: Any = np.memmap(file, np.int16, "w+", shape=(total,))
    digest = hashlib.blake2b(digest_size=16)
    plan = ShardPlan(places, [], [], "")
    for read, here in plan.by_split(reads):
        table = read.columns("id", "reason")
        good = is_good(table)
        here[:] = np.where(good, 0, REJECTED)
        digest.update(np.where(good[:, None], ids_of(table), 0).tobytes())
    for bucket in range(buckets := -(-total // BUCKET_ROWS)):
        positions = find_duplicates(plan, reads, bucket, buckets)
        places[positions] = DUPLICATE
    tally = Tally(units)
    for read, here in plan.by_split(reads):
        tally.add(read.columns("line", "id", "size"), here)
    return ShardPlan(places, tally.rows_in.tolist(), tally.checksums(), digest.hexdigest())


def find_duplicates(
    plan: ShardPlan, reads: Sequence[SpilledSplit], bucket: int, buckets: int
) -> Any:
    """Places of the rows in a bucket of ids that equal an earlier row."""
    import numpy as np

    keys, positions, at = [], [], 0
    for read, here in plan.by_split(reads):
        ids = ids_of(read.columns("id"))
        chosen = np.flatnonzero((here != REJECTED) & (ids[:, 0] % buckets == bucket))
        keys.append(ids[chosen])
        positions.append(chosen + at)
        at += read.rows
    return find_later_duplicates(np.concatenate(keys), np.concatenate(positions))


def find_later_duplicates(keys: Any, places: Any) -> Any:
    """The places of all keys but the first of those that are equal, in no order.

    Keys are two numbers each; places rise in the order in which the first is looked for.
    """
    import numpy as np

    # Stable: of equal keys the first comes first.
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    keys = keys[order]
    same = (keys[1:] == keys[:-1]).all(axis=1)
    return places[order[1:][same]]


class Tally:
    """Gives rows to shards, and counts what each gets."""

    def __init__(self, units: int) -> None:
        import numpy as np

        self.units = units
        self.loads = [(0, unit) for unit in range(units)]
        self.rows_in: Any = np.zeros(units, np.int64)
        self.rows_out: Any = np.zeros(units, np.int64)
        self.sums: Any = np.zeros((units, 2), np.uint64)

    def add(self, table: Any, places: Any) -> None:
        """Decide about the rows of a piece that are kept, in `places`."""
        import numpy as np

        good = np.flatnonzero(places == 0)
        chosen = np.array(self.lightest(table["size"].to_numpy()[good].tolist()), np.int16)
        places[good] = chosen
        self.rows_out += np.bincount(chosen, minlength=self.units)
        np.bitwise_xor.at(self.sums, chosen, ids_of(table)[good])
        shards = assign_shards(table, places, self.units)
        self.rows_in += np.bincount(shards, minlength=self.units)

    def lightest(self, sizes: list[int]) -> list[int]:
        """The shard for each of these rows."""
        loads, chosen = self.loads, []
        for size in sizes:
            load, unit = loads[0]
            heapreplace(loads, (load + size, unit))
            chosen.append(unit)
        return chosen

    def checksums(self) -> list[str]:
        """Number and XOR of the ids of the rows that each shard keeps."""
        return [
            format_checksum(int(rows), both)
            for rows, both in zip(self.rows_out, self.sums, strict=True)
        ]


def format_checksum(rows: int, both: Any) -> str:
    """The words for a number of rows and the XOR of the two halves of their ids."""
    return f"{rows} {int(both[0]):016x}{int(both[1]):016x}"


def assign_shards(table: Any, places: Any, units: int) -> Any:
    """The shard of every row of a piece; rows that are not kept go by their line."""
    import numpy as np

    return np.where(places >= 0, places, table["line"].to_numpy() % units)


def is_good(table: Any) -> Any:
    """Which rows of a piece could be read and are wanted."""
    import pyarrow.compute as pc

    return pc.equal(table["reason"], "").to_numpy()


def ids_of(table: Any) -> Any:
    """The ids of the rows of a piece, two numbers each; those of bad rows mean nothing."""
    import numpy as np

    column = table["id"].combine_chunks()
    numbers = np.frombuffer(column.buffers()[1], "<u8").reshape(-1, 2)
    return numbers[column.offset : column.offset + len(column)]
