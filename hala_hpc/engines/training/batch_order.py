"""The order in which rows are learnt: whole global batches, the same for any number of ranks."""

from collections.abc import Iterator
from typing import Any

#: Global batches among which rows of like length find each other. More fill better and mix less.
MIXED_BATCHES = 50


class GlobalBatchOrder:
    """Numbers of rows for one epoch after another, a whole number of global batches each.

    It depends on seed, epoch and the rows of a global batch alone. The trainer cuts each global
    batch into micro batches of consecutive rows and deals these out to the ranks in turn, so that
    one rank more or less changes nothing of what a step learns.

    `lengths` are tokens of each row. Every row comes once an epoch; what the last global batch
    lacks is filled up with the first rows of the same epoch. Within a global batch the longest rows
    come first, which changes no gradient and makes rows of one micro batch alike. `by_length` also
    puts rows of like length into one global batch, out of so many batches as `MIXED_BATCHES` says
    (as the length-grouped sampler of transformers does); the batches come in a random order then,
    the one with the longest row first, so that a lack of memory shows at once.
    """

    def __init__(self, lengths: Any, batch_rows: int, seed: int, by_length: bool) -> None:
        self.lengths, self.batch_rows, self.seed = lengths, batch_rows, seed
        self.by_length = by_length
        self.batches = -(-len(lengths) // batch_rows)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch, from 0, is iterated next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches * self.batch_rows

    def __iter__(self) -> Iterator[int]:
        yield from self.rows_of(self.epoch).tolist()

    def rows_of(self, epoch: int) -> Any:
        """Numbers of the rows of an epoch, as a numpy array of `len(self)`."""
        import numpy as np

        chance = np.random.default_rng([self.seed % 2**63, epoch])
        rows: Any = np.resize(chance.permutation(len(self.lengths)), len(self))
        if self.by_length:
            mixed = MIXED_BATCHES * self.batch_rows
            for first in range(0, len(rows), mixed):
                rows[first : first + mixed] = self._longest_first(rows[first : first + mixed])
        batches = rows.reshape(self.batches, self.batch_rows)
        if self.by_length:
            batches = batches[chance.permutation(self.batches)]
            longest = int(self.lengths[batches].max(axis=1).argmax())
            batches[[0, longest]] = batches[[longest, 0]]
        return np.concatenate([self._longest_first(batch) for batch in batches])

    def _longest_first(self, rows: Any) -> Any:
        return rows[(-self.lengths[rows]).argsort(kind="stable")]


def fill_of(rows: Any, lengths: Any, micro_rows: int) -> float:
    """Share of the token slots that are no padding when so many consecutive rows share a pass.

    Every micro batch is padded to its longest row. `rows` are numbers of rows in the order of
    training, a multiple of `micro_rows` of them; `lengths` are the tokens of each row.
    """
    passes = lengths[rows].reshape(-1, micro_rows)
    return float(passes.sum() / (passes.max(axis=1).sum() * micro_rows))
