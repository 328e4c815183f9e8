"""Index of the row groups of a corpus, for random access to ranges of rows."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hala_hpc.data.corpus.figures import FIGURE_TYPES
from hala_hpc.data.corpus.reader import (
    MESSAGE_COLUMNS,
    Row,
    has_fields,
    list_parts,
    open_part,
    read_row_groups,
)


@dataclass(frozen=True, slots=True)
class IndexedRowGroup:
    """A row group of a shard, and the number of its first row in the corpus."""

    part: Path
    number: int
    first: int
    rows: int


class CorpusIndex:
    """The row groups of all shards in order; the constructor reads every footer once.

    Raises: UserError (NO_INPUT, BAD_DATA) as `list_parts` and `open_part` do.
    """

    def __init__(self, folder: Path) -> None:
        self.groups: list[IndexedRowGroup] = []
        self.rows = 0
        self.has_fields = False
        """Whether messages have fields beside role and content."""
        self.figures: dict[str, str] = {}
        """Columns of figures of translations that a shard has, with their Arrow types."""
        for part in list_parts(folder):
            opened = open_part(part)
            metadata = opened.metadata
            self.has_fields |= has_fields(opened.schema_arrow, MESSAGE_COLUMNS[0])
            names = set(opened.schema_arrow.names)
            self.figures |= {name: FIGURE_TYPES[name] for name in FIGURE_TYPES if name in names}
            for number in range(metadata.num_row_groups):
                rows = int(metadata.row_group(number).num_rows)
                self.groups.append(IndexedRowGroup(part, number, self.rows, rows))
                self.rows += rows
        self._starts = [group.first for group in self.groups]

    def read(self, first: int, last: int) -> Iterator[Row]:
        """Yield the rows from `first` up to, not including, `last` in bounded memory."""
        at = max(bisect_right(self._starts, first) - 1, 0)
        for group in islice(self.groups, at, None):
            if group.first >= last:
                return
            rows = read_row_groups(open_part(group.part), group.part, [group.number], None)
            yield from islice(rows, max(first - group.first, 0), last - group.first)
