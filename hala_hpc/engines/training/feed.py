"""The passes of a rank in each step, read from the token files and padded."""

from collections.abc import Callable, Iterator
from typing import Any

from hala_hpc.engines.training.dataset import GlobalBatchOrder, TrainingData
from hala_hpc.engines.training.passes import PassCounts, StepCut, count_passes, plan_passes

#: Columns of which a batch is made, if present.
COLUMNS = ("input_ids", "labels", "seq_lengths")
#: Collates rows into tensors.
Collate = Callable[[list[Any]], dict[str, Any]]


def columns_of(rows: Any) -> Any:
    """Return a `datasets.Dataset` with only the columns of a batch."""
    return rows.select_columns([name for name in COLUMNS if name in rows.column_names])


class StepFeed:
    """The steps of an epoch for one rank, as a data set for torch's `DataLoader`.

    Item n, from 0, is the list of the rank's passes in step n of the epoch given to `set_epoch`.
    Each rank plans the passes of all ranks: the plan depends only on the lengths of the rows.
    """

    def __init__(
        self, data: TrainingData, order: GlobalBatchOrder, collate: Collate, cut: StepCut, rank: int
    ) -> None:
        self.rows, self.order, self.collate = columns_of(data.train), order, collate
        self.cut, self.rank = cut, rank
        self.epoch = -1
        self.numbers: Any = None
        self.steps = self.passes = self.tokens = self.padded_tokens = 0
        """Totals over all ranks of what was read so far."""

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0, that is read next."""
        if epoch != self.epoch:
            self.numbers = self.order.epoch_rows(epoch).reshape(self.order.batches, -1)
            self.epoch = epoch

    def __len__(self) -> int:
        return self.order.batches

    def __getitem__(self, step: int) -> list[dict[str, Any]]:
        numbers = self.numbers[step]
        lengths = self.order.lengths[numbers].tolist()
        dealt = plan_passes(lengths, self.cut)
        self.record_step(count_passes(lengths, dealt))
        own = (numbers[rows].tolist() for rows in dealt[self.rank])
        return [self.collate(self.rows.__getitems__(rows)) for rows in own]

    @property
    def passes_per_step(self) -> float | None:
        """Mean passes of each rank per step so far; None before the first step."""
        return round(self.passes / (self.steps * self.cut.ranks), 2) if self.steps else None

    @property
    def padding_efficiency(self) -> float | None:
        """Share of the tokens read so far that are not padding; None before the first step."""
        return round(self.tokens / self.padded_tokens, 4) if self.steps else None

    def record_step(self, counts: PassCounts) -> None:
        """Add a step to the totals."""
        self.steps += 1
        self.passes += counts.passes
        self.tokens += counts.tokens
        self.padded_tokens += counts.padded_tokens


class HeldOutFeed:
    """The passes of a rank over the held-out rows; iterated once per evaluation."""

    def __init__(self, data: TrainingData, collate: Collate, cut: StepCut, rank: int) -> None:
        measured = data.measured_rows(cut.ranks)
        self.rows, self.collate = columns_of(measured), collate
        lengths = measured.data.column("length").to_pylist()
        self.passes = plan_passes(lengths, cut)[rank]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for rows in self.passes:
            yield self.collate(self.rows.__getitems__(rows))
