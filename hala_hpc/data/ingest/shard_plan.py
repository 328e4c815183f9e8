"""Decide for every row, from its id, size and features, whether it is accepted and in which shard.

Of equal rows the first in input order is accepted; `row_searches` decides about similar ones.
Accepted rows go, in that order, to the shard with the fewest bytes of text so far. So no two shards
differ by more than the longest row. Memory is bounded: ids are compared bucket by bucket. The
decisions, two bytes a row, are in a memory-mapped file.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heapreplace
from pathlib import Path
from typing import Any

from hala_hpc.data.ingest.quality_settings import QualitySearches
from hala_hpc.data.ingest.row_searches import DUPLICATE, PLACE_REASONS, REJECTED, RowSearches
from hala_hpc.data.ingest.sample import apply_sample
from hala_hpc.data.ingest.spill import SpilledSplit
from hala_hpc.data.ingest.spilled_columns import is_good, row_ids

#: Rows whose ids are compared at a time: about 100 bytes each while they are sorted.
BUCKET_ROWS = 2_000_000


@dataclass(frozen=True)
class ShardPlan:
    """The planned content of every shard, complete before the first one is written."""

    assignments: Any
    """Shard of every row in order, or a value of PLACE_REASONS, or REJECTED: a memory-mapped
    array."""
    rows_in: list[int]
    """Rows of each shard, including the rejected ones, which are assigned by line number."""
    checksums: list[str]
    """For each shard the number of accepted rows and the XOR of their ids."""
    digest: str
    """Hash of all ids and rejections in order: it shows whether two workers read the same input."""
    searches: RowSearches
    """What was found about the rows."""

    def by_split(self, splits: Sequence[SpilledSplit]) -> Iterator[tuple[SpilledSplit, Any]]:
        """Yield every split with the assignments of its rows."""
        at = 0
        for split in splits:
            yield split, self.assignments[at : at + split.rows]
            at += split.rows

    def count_rejections(self) -> Counter[str]:
        """Count the rows that could be read and are not accepted, by reason."""
        import numpy as np

        places = self.assignments[self.assignments < REJECTED]
        found, counts = np.unique(places, return_counts=True)
        reasons = (PLACE_REASONS[place] for place in found.tolist())
        return Counter(dict(zip(reasons, counts.tolist(), strict=True)))


def plan_shards(
    splits: Sequence[SpilledSplit], units: int, folder: Path, searches: QualitySearches
) -> ShardPlan:
    """Decide for all rows; the decisions and what the searches need are written to `folder`."""
    import numpy as np

    total = sum(split.rows for split in splits)
    places: Any = np.memmap(folder / "places", np.int16, "w+", shape=(total,))
    digest = hashlib.blake2b(digest_size=16)
    plan = ShardPlan(places, [], [], "", RowSearches(splits, searches, folder))
    for split, here in plan.by_split(splits):
        table = split.columns("id", "reason")
        good = is_good(table)
        here[:] = np.where(good, 0, REJECTED)
        digest.update(np.where(good[:, None], row_ids(table), 0).tobytes())
        plan.searches.apply_features(split, here)
    for bucket in range(buckets := -(-total // BUCKET_ROWS)):
        positions = find_duplicates(plan, splits, bucket, buckets)
        places[positions] = DUPLICATE
    plan.searches.search(places)
    if searches.sample.rows:
        apply_sample(splits, places, searches.sample)
    digest.update(places)
    tally = Tally(units)
    for split, here in plan.by_split(splits):
        tally.add(split.columns("line", "id", "size"), here)
    return replace(
        plan,
        rows_in=tally.rows_in.tolist(),
        checksums=tally.checksums(),
        digest=digest.hexdigest(),
    )


def find_duplicates(
    plan: ShardPlan, splits: Sequence[SpilledSplit], bucket: int, buckets: int
) -> Any:
    """Return the positions of the rows in a bucket of ids that repeat an earlier row."""
    import numpy as np

    keys, positions, at = [], [], 0
    for split, here in plan.by_split(splits):
        ids = row_ids(split.columns("id"))
        chosen = np.flatnonzero((here == 0) & (ids[:, 0] % buckets == bucket))
        keys.append(ids[chosen])
        positions.append(chosen + at)
        at += split.rows
    return find_later_duplicates(np.concatenate(keys), np.concatenate(positions))


def find_later_duplicates(keys: Any, places: Any) -> Any:
    """Return the places of all keys except the first of equal ones, in no order.

    A key is two numbers. The places ascend in the order that defines the first.
    """
    import numpy as np

    # Stable sort: the first of equal keys comes first.
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    keys = keys[order]
    same = (keys[1:] == keys[:-1]).all(axis=1)
    return places[order[1:][same]]


class Tally:
    """Assigns rows to shards and counts the rows of each."""

    def __init__(self, units: int) -> None:
        import numpy as np

        self.units = units
        self.loads = [(0, unit) for unit in range(units)]
        self.rows_in: Any = np.zeros(units, np.int64)
        self.rows_out: Any = np.zeros(units, np.int64)
        self.sums: Any = np.zeros((units, 2), np.uint64)

    def add(self, table: Any, places: Any) -> None:
        """Assign the accepted rows of a split, by writing into `places`."""
        import numpy as np

        good = np.flatnonzero(places == 0)
        chosen = np.array(self.lightest(table["size"].to_numpy()[good].tolist()), np.int16)
        places[good] = chosen
        self.rows_out += np.bincount(chosen, minlength=self.units)
        np.bitwise_xor.at(self.sums, chosen, row_ids(table)[good])
        shards = assign_shards(table, places, self.units)
        self.rows_in += np.bincount(shards, minlength=self.units)

    def lightest(self, sizes: list[int]) -> list[int]:
        """Return the shard with the fewest bytes for each of these rows."""
        loads, chosen = self.loads, []
        for size in sizes:
            load, unit = loads[0]
            heapreplace(loads, (load + size, unit))
            chosen.append(unit)
        return chosen

    def checksums(self) -> list[str]:
        """Format the checksum of each shard."""
        return [
            format_checksum(int(rows), both)
            for rows, both in zip(self.rows_out, self.sums, strict=True)
        ]


def format_checksum(rows: int, both: Any) -> str:
    """Format a row count and the XOR of the two halves of the ids."""
    return f"{rows} {int(both[0]):016x}{int(both[1]):016x}"


def assign_shards(table: Any, places: Any, units: int) -> Any:
    """Return the shard of every row of a split; rows not accepted are assigned by line number."""
    import numpy as np

    return np.where(places >= 0, places, table["line"].to_numpy() % units)
