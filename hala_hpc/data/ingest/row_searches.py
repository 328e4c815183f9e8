"""Apply the searches over all rows: answer rules, contamination, repeats and near duplicates.

Each finding either rejects its rows, by a place of its own in the plan, or only counts them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.data.corpus.writer import RowMatch
from hala_hpc.data.ingest.near_duplicates import JoinedRows, find_near_duplicates
from hala_hpc.data.ingest.quality_settings import (
    CONTAMINATED,
    FEATURE_REASONS,
    NEAR_DUPLICATE,
    QUALITY_REASONS,
    REPEATED,
    QualitySearches,
)
from hala_hpc.data.ingest.row_features import FeatureFiles
from hala_hpc.data.ingest.spill import SpilledSplit

#: Values in place of a shard number for rows that are not accepted.
REJECTED, DUPLICATE = -1, -2
PLACE_REASONS = {
    DUPLICATE: "duplicate",
    **{DUPLICATE - number: reason for number, reason in enumerate(QUALITY_REASONS, 1)},
}
PLACES = {reason: place for place, reason in PLACE_REASONS.items()}
#: Pairs and shared texts that the summary lists.
LISTED = 20
#: Hashes that are sorted at a time: about 40 bytes each.
BUCKET_ROWS = 8_000_000


@dataclass(frozen=True)
class ListedMatch:
    """A row that was found, for the summary."""

    reason: str
    position: int
    """Position of the row in the input, from 0."""
    match: RowMatch
    earlier: int | None = None
    """Position of the earlier row that it is joined to."""


class RowSearches:
    """Searches the rows of all splits, notes what is found, and writes rejections into places."""

    def __init__(
        self, splits: Sequence[SpilledSplit], searches: QualitySearches, folder: Path
    ) -> None:
        self.splits, self.searches, self.folder = splits, searches, folder
        #: Rows found by reason, whether they are rejected or only counted.
        self.counts: Counter[str] = Counter()
        self.joined: dict[str, JoinedRows] = {}
        self.starts = [0]
        for split in splits:
            self.starts.append(self.starts[-1] + split.rows)

    def apply_features(self, split: SpilledSplit, places: Any) -> None:
        """Apply what was found about each row of a split by itself."""
        found = FeatureFiles(split.file).read_findings(split.rows)
        if not found.any():
            return
        for number, reason in enumerate(FEATURE_REASONS):
            rows = (found & (1 << number) > 0) & (places != REJECTED)
            self.counts[reason] += int(rows.sum())
            if self.searches.use_of(reason) == "reject":
                places[rows & (places == 0)] = PLACES[reason]

    def search(self, places: Any) -> None:
        """Search the rows that are accepted so far for repeats, then for near duplicates."""
        if self.searches.use_of(REPEATED) != "off":
            limit = self.searches.rules.max_repeats
            self._apply(REPEATED, find_repeats(self.splits, places == 0, limit), places)
        if self.searches.use_of(NEAR_DUPLICATE) != "off":
            threshold = self.searches.near.threshold
            found = find_near_duplicates(self.splits, places == 0, threshold, self.folder)
            self._apply(NEAR_DUPLICATE, found, places)

    def _apply(self, reason: str, found: JoinedRows, places: Any) -> None:
        self.counts[reason] += len(found.positions)
        self.joined[reason] = found
        self._locate(found)
        if self.searches.use_of(reason) == "reject":
            places[found.positions] = PLACES[reason]

    def _locate(self, found: JoinedRows) -> None:
        """Find the lines of the earlier rows."""
        import numpy as np

        found.lines = np.zeros(len(found.earlier), np.int64)
        order = np.argsort(found.earlier, kind="stable")
        ordered = found.earlier[order]
        for number, split in enumerate(self.splits):
            bounds: Any = np.searchsorted(ordered, self.starts[number : number + 2])
            start, end = bounds.tolist()
            if start < end:
                lines = split.columns("line")["line"].to_numpy()
                found.lines[order[start:end]] = lines[ordered[start:end] - self.starts[number]]

    def split_at(self, position: int) -> tuple[SpilledSplit, int]:
        """Return the split of a row and the index of the row in it."""
        from bisect import bisect_right

        number = bisect_right(self.starts, position) - 1
        return self.splits[number], position - self.starts[number]

    def matches(self, split: SpilledSplit, start: int, places: Any) -> dict[int, RowMatch]:
        """Return what the rejected rows of a split match; `start`: position of its first row."""
        matches = {}
        if (places == PLACES[CONTAMINATED]).any():
            for shared in FeatureFiles(split.file).read_shared():
                if shared.row < split.rows:
                    matches[shared.row] = RowMatch(shared.where, shared.line, text=shared.text)
        for reason, found in self.joined.items():
            if self.searches.use_of(reason) == "reject":
                for number in found.within(start, start + split.rows):
                    row = int(found.positions[number]) - start
                    matches[row] = self._joined_match(found, number)
        return matches

    def _joined_match(self, found: JoinedRows, number: int) -> RowMatch:
        split, _ = self.split_at(int(found.earlier[number]))
        return RowMatch(
            split.where, int(found.lines[number]), round(float(found.similarities[number]), 4)
        )

    def listed(self) -> Iterator[ListedMatch]:
        """Yield the first rows found of each search."""
        for reason, found in self.joined.items():
            for number in range(min(LISTED, len(found.positions))):
                yield ListedMatch(
                    reason,
                    int(found.positions[number]),
                    self._joined_match(found, number),
                    int(found.earlier[number]),
                )
        left = LISTED if self.searches.contamination else 0
        for start, split in zip(self.starts, self.splits, strict=False):
            if not left:
                return
            for shared in FeatureFiles(split.file).read_shared():
                if shared.row < split.rows and left:
                    left -= 1
                    match = RowMatch(shared.where, shared.line, text=shared.text)
                    yield ListedMatch(CONTAMINATED, start + shared.row, match)


def find_repeats(splits: Sequence[SpilledSplit], is_candidate: Any, limit: int) -> JoinedRows:
    """Return the rows after the first `limit` ones of equal templates, each with the first one."""
    import numpy as np

    hashes = np.concatenate(
        [np.fromfile(FeatureFiles(split.file).templates, np.uint64, split.rows) for split in splits]
    )
    # Rows without words have the hash 0.
    is_candidate = is_candidate & (hashes != 0)
    found = []
    for bucket in range(buckets := -(-len(hashes) // BUCKET_ROWS)):
        chosen = np.flatnonzero(is_candidate & (hashes % np.uint64(buckets) == bucket))
        chosen = chosen[np.argsort(hashes[chosen], kind="stable")]
        ordered = hashes[chosen]
        is_first: Any = np.ones(len(chosen), bool)
        is_first[1:] = ordered[1:] != ordered[:-1]
        first = np.maximum.accumulate(np.where(is_first, np.arange(len(chosen)), 0))
        later = np.flatnonzero(np.arange(len(chosen)) - first >= limit)
        found.append(np.stack([chosen[later], chosen[first[later]]]))
    positions, earlier = np.concatenate(found, axis=1)
    order = np.argsort(positions)
    return JoinedRows(positions[order], earlier[order], np.ones(len(order), np.float32))
