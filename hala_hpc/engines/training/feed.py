"""What a rank computes in each step: its passes, read from the token files and padded."""

from collections.abc import Callable, Iterator
from typing import Any

from hala_hpc.engines.training.dataset import GlobalBatchOrder, TrainingData
from hala_hpc.engines.training.passes import PassCounts, StepCut, count_passes, plan_passes

#: Columns that a batch is made of, where they are there.
COLUMNS = ("input_ids", "labels", "seq_lengths")
#: Puts rows into tensors.
Collate = Callable[[list[Any]], dict[str, Any]]


def columns_of(rows: Any) -> Any:
    """The rows of a `datasets.Dataset` without what no batch is made of."""
    return rows.select_columns([name for name in COLUMNS if name in rows.column_names])


class StepFeed:
    """The steps of an epoch as a rank takes them, for a `DataLoader` of torch.

    Item n, from 0, is the list of the rank's passes in step n of the epoch that it was turned to.
    A plan of all ranks is made on each: it depends on the rows' lengths alone.
    """

    def __init__(
        self, data: TrainingData, order: GlobalBatchOrder, collate: Collate, cut: StepCut, rank: int
    ) -> None:
        self.rows, self.order, self.collate = columns_of(data.train), order, collate
        self.cut, self.rank = cut, rank
        self.epoch = -1
        self.numbers: Any = None
        self.steps = self.passes = self.tokens = self.padded_tokens = 0
        """What was read so far, of all ranks."""

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch, from 0, is read next."""
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
        """Passes of each rank in a step, mean of what was read; None before that."""
        return round(self.passes / (self.steps * self.cut.ranks), 2) if self.steps else None

    @property
    def padding_efficiency(self) -> float | None:
        """Share of the tokens read that are no padding; None before that."""
        return round(self.tokens / self.padded_tokens, 4) if self.steps else None

    def record_step(self, counts: PassCounts) -> None:
        """Count a step."""
        self.steps += 1
        self.passes += counts.passes
        self.tokens += counts.tokens
        self.padded_tokens += counts.padded_tokens


class HeldOutFeed:
    """The passes of a rank over the held-out rows; iterated anew for every look at them."""

    def __init__(self, data: TrainingData, collate: Collate, cut: StepCut, rank: int) -> None:
        measured = data.measured_rows(cut.ranks)
        self.rows, self.collate = columns_of(measured), collate
        lengths = measured.data.column("length").to_pylist()
        self.passes = plan_passes(lengths, cut)[rank]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for rows in self.passes:
            yield self.collate(self.rows.__getitems__(rows))
