"""Find rows that are nearly equal to an earlier row that stays, from their MinHash signatures.

Two rows are compared if a band of their signatures is equal (locality-sensitive hashing); bands are
chosen so that 99 % of the pairs at the threshold are. A row is joined to the most similar row
before it that is not joined itself and reaches the threshold. So every joined row has one that
stays, and chains of small changes do not remove what differs.

rensa computes the signatures (`row_features`). Its index, as that of datasketch, is in memory as
objects; this one sorts a column of numbers for each band, and the rest is in files.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.data.ingest.row_features import PERMUTATIONS, SIGNATURE_BYTES, FeatureFiles
from hala_hpc.data.ingest.spill import SpilledSplit

#: Min share of the pairs at the threshold that are compared.
RECALL = 0.99
#: Signatures that are in memory at a time: 32 MB.
CHUNK_ROWS = 65_536
#: Band keys that are sorted at a time: about 20 bytes each.
BUCKET_KEYS = 8_000_000
#: Rows that stay and that a later row of the same band key is compared with.
MAX_COMPARED = 8


@dataclass
class JoinedRows:
    """Rows that are joined to an earlier one; positions count all rows of the input from 0."""

    positions: Any
    """Ascending, int64."""
    earlier: Any
    """Position of the earlier row of each."""
    similarities: Any
    """Estimated Jaccard similarity to it, 0 to 1."""
    lines: Any = None
    """Line of the earlier row in its file, from 1; set once it is known."""

    def within(self, start: int, end: int) -> range:
        """Return the indexes of the rows from `start` to before `end`."""
        import numpy as np

        bounds: Any = np.searchsorted(self.positions, [start, end])
        return range(*bounds.tolist())


def choose_band_size(threshold: float) -> int:
    """Return the largest number of values of a band that finds RECALL of pairs at a threshold."""
    sizes = range(PERMUTATIONS, 1, -1)
    fits = (size for size in sizes if band_recall(threshold, size) >= RECALL)
    return next(fits, 1)


def band_recall(similarity: float, size: int) -> float:
    """Return the probability that two rows have an equal band of `size` values."""
    return 1 - (1 - similarity**size) ** (PERMUTATIONS // size)


def find_near_duplicates(
    splits: Sequence[SpilledSplit], is_candidate: Any, threshold: float, folder: Path
) -> JoinedRows:
    """Return the rows that are joined to an earlier one, in order.

    `is_candidate`: boolean array of the rows of all splits that take part. `folder`: for files of
    about 90 bytes per row.
    """
    import numpy as np

    bands = BandKeys(folder / "bands", len(is_candidate), choose_band_size(threshold))
    bands.write(splits, is_candidate)
    groups = bands.write_groups(folder)
    positions = np.flatnonzero(groups.is_shared)
    search = Search(groups, positions, threshold)
    search.run(gather_signatures(splits, positions, folder / "compared"))
    return JoinedRows(
        positions[np.array(search.rows, np.int64)],
        positions[np.array(search.earlier, np.int64)],
        np.array(search.similarities, np.float32),
    )


def read_signatures(splits: Sequence[SpilledSplit]) -> Iterator[tuple[int, Any]]:
    """Yield the signatures of all rows in chunks, each with the position of its first row."""
    import numpy as np

    at = 0
    for split in splits:
        with FeatureFiles(split.file).signatures.open("rb") as file:
            for first in range(0, split.rows, CHUNK_ROWS):
                count = min(CHUNK_ROWS, split.rows - first)
                data = file.read(count * SIGNATURE_BYTES)
                yield at + first, np.frombuffer(data, np.uint32).reshape(count, PERMUTATIONS)
        at += split.rows


def gather_signatures(splits: Sequence[SpilledSplit], positions: Any, path: Path) -> Any:
    """Copy the signatures at ascending positions into a file; return it as a mapped array."""
    import numpy as np

    gathered = map_new_file(path, np.uint32, (len(positions), PERMUTATIONS))
    for first, chunk in read_signatures(splits):
        bounds: Any = np.searchsorted(positions, [first, first + len(chunk)])
        start, end = bounds.tolist()
        gathered[start:end] = chunk[positions[start:end] - first]
    return gathered


class BandKeys:
    """A file with a column of 4-byte keys for each band; rows that take no part have key 0."""

    def __init__(self, path: Path, rows: int, size: int) -> None:
        self.path, self.rows, self.size = path, rows, size
        self.bands = PERMUTATIONS // size

    def write(self, splits: Sequence[SpilledSplit], is_candidate: Any) -> None:
        """Compute the keys of all rows."""
        import numpy as np

        with self.path.open("wb") as file:
            for first, chunk in read_signatures(splits):
                # Rows without words have a signature of zeros.
                used = is_candidate[first : first + len(chunk)] & chunk[:, :2].any(axis=1)
                for band in range(self.bands):
                    values = chunk[:, band * self.size : (band + 1) * self.size]
                    file.seek(4 * (band * self.rows + first))
                    file.write(np.where(used, join_values(values), 0).astype(np.uint32).tobytes())

    def read(self, band: int) -> Any:
        """Return the keys of a band."""
        import numpy as np

        return np.fromfile(self.path, np.uint32, self.rows, offset=4 * band * self.rows)

    def write_groups(self, folder: Path) -> "BandGroups":
        """Number the groups of rows with equal keys, and write them band by band."""
        import numpy as np

        groups = BandGroups(folder, np.zeros(self.rows, bool), self.bands)
        for band in range(self.bands):
            keys = self.read(band)
            buckets = -(-self.rows // BUCKET_KEYS)
            found = [self._group(keys, bucket, buckets) for bucket in range(buckets)]
            groups.add(band, found)
        return groups

    @staticmethod
    def _group(keys: Any, bucket: int, buckets: int) -> tuple[Any, Any]:
        """Return the rows of a bucket that share a key, sorted by key, and group numbers from 0."""
        import numpy as np

        chosen = np.flatnonzero((keys != 0) & (keys % buckets == bucket))
        chosen = chosen[np.argsort(keys[chosen], kind="stable")]
        ordered = keys[chosen]
        same: Any = np.zeros(len(chosen) + 1, bool)
        same[1:-1] = ordered[1:] == ordered[:-1]
        shared = same[1:] | same[:-1]
        numbers = np.cumsum(~same[:-1][shared]) - 1
        return chosen[shared], numbers


def join_values(values: Any) -> Any:
    """Hash the rows of an array of numbers to 4 bytes each, never 0."""
    import numpy as np

    hashes: Any = np.zeros(len(values), np.uint64)
    for column in range(values.shape[1]):
        hashes = (hashes ^ values[:, column]) * np.uint64(0x100000001B3)
        hashes ^= hashes >> np.uint64(29)
    return np.maximum(hashes >> np.uint64(32), np.uint64(1))


class BandGroups:
    """The groups of rows with an equal key, in a file for each band."""

    def __init__(self, folder: Path, is_shared: Any, bands: int) -> None:
        self.folder, self.bands = folder, bands
        self.is_shared = is_shared
        """Whether a row is in any group."""
        self.count = 0
        """Groups of all bands."""

    def add(self, band: int, found: list[tuple[Any, Any]]) -> None:
        """Write the groups of a band."""
        import numpy as np

        rows, numbers = [], []
        for members, local in found:
            self.is_shared[members] = True
            rows.append(members)
            numbers.append(local + self.count)
            self.count += int(local[-1]) + 1 if len(local) else 0
        np.save(self.folder / f"band-{band}.npy", [np.concatenate(rows), np.concatenate(numbers)])

    def table(self, positions: Any) -> Any:
        """Return the group of each row at these positions in each band, -1 for none."""
        import numpy as np

        table = map_new_file(self.folder / "groups", np.int32, (len(positions), self.bands))
        table[:] = -1
        for band in range(self.bands):
            members, numbers = np.load(self.folder / f"band-{band}.npy")
            table[np.searchsorted(positions, members), band] = numbers
        return table


class Search:
    """Goes through the rows in order, and compares each with those before it that stay."""

    def __init__(self, groups: BandGroups, positions: Any, threshold: float) -> None:
        import numpy as np

        self.threshold = threshold
        self.table = groups.table(positions)
        # The first rows of each group that stay, from 1; 0 for none.
        self.staying: Any = map_new_file(
            groups.folder / "staying", np.int32, (groups.count, MAX_COMPARED)
        )
        self.counts: Any = np.zeros(groups.count, np.int8)
        self.rows, self.earlier = array("q"), array("q")
        self.similarities = array("f")

    def run(self, signatures: Any) -> None:
        """Collect each joined row, the row that it is joined to, and their similarity."""
        import numpy as np

        for row, numbers in enumerate(self.table):
            groups = numbers[numbers >= 0]
            # A set of Python numbers: few, and numpy takes longer to sort them.
            earlier = sorted(set(self.staying[groups].ravel().tolist()) - {0})
            if earlier:
                equal = np.count_nonzero(
                    signatures[np.array(earlier) - 1] == signatures[row], axis=1
                )
                best = int(equal.argmax())
                if (similarity := equal[best] / PERMUTATIONS) >= self.threshold:
                    self.rows.append(row)
                    self.earlier.append(earlier[best] - 1)
                    self.similarities.append(similarity)
                    continue
            free = groups[self.counts[groups] < MAX_COMPARED]
            self.staying[free, self.counts[free]] = row + 1
            self.counts[free] += 1


def map_new_file(path: Path, kind: Any, shape: tuple[int, int]) -> Any:
    """Return an array in a new file, filled with zeros; in memory if it is empty."""
    import numpy as np

    if 0 in shape:
        return np.zeros(shape, kind)
    # Indexing is twice as fast without the class of mapped arrays.
    return np.memmap(path, kind, "w+", shape=shape).view(np.ndarray)
