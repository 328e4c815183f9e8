"""The token files of a training, mapped into memory, and how their rows make batches."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.engines.training.batch_order import GlobalBatchOrder
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.engines.training.tokens.examples import NOT_LEARNT
from hala_hpc.engines.training.tokens.names import TOKENS_FILE, TokenFacts


@dataclass(frozen=True)
class TrainingData:
    """What is learnt from, and what is kept apart to measure with."""

    train: Any
    """A `datasets.Dataset` with `input_ids`, `labels`, `length`, `rows`, and with packing
    `seq_lengths`; its rows are sequences."""
    held_out: Any
    """The same, never packed; None where no row was held out."""
    facts: TokenFacts

    @cached_property
    def lengths(self) -> Any:
        """Tokens of each sequence of `train`, a numpy array."""
        return self.train.data.column("length").to_numpy()

    def measured_rows(self, multiple: int) -> Any:
        """The held-out rows to measure on, as many as a multiple; None where there are none.

        Rows of one token without a label fill them up: otherwise accelerate would take rows twice
        for the last batches, which ones depending on the number of ranks. The longest come first,
        rows of like length together.
        """
        if self.held_out is None:
            return None
        from datasets import Dataset, concatenate_datasets

        lengths = self.held_out.data.column("length").to_numpy()
        rows = self.held_out.select((-lengths).argsort(kind="stable"))
        rows = rows.select_columns(["input_ids", "labels"])
        missing = -len(rows) % multiple
        empty = {"input_ids": [[0]] * missing, "labels": [[NOT_LEARNT]] * missing}
        filling = Dataset.from_dict(empty, features=rows.features).with_format("numpy")
        return concatenate_datasets([rows, filling]) if missing else rows


def read_facts(folder: Path) -> TokenFacts:
    """What a tokens product holds. Raises: UserError (NO_INPUT) if it is none."""
    facts = TokenFacts.read(folder / TOKENS_FILE)
    if facts is None:
        raise UserError(f"{folder} holds no {TOKENS_FILE}: it is not made by tokenize", NO_INPUT)
    return facts


def load(folder: Path) -> TrainingData:
    """Map the parts of a tokens product into memory; nothing is copied."""
    facts = read_facts(folder)
    train = joined([folder / name for name in facts.parts])
    held_out = joined([folder / name for name in facts.held_out_parts])
    return TrainingData(train, held_out, facts)


def order_of(data: TrainingData, settings: TrainingSettings) -> GlobalBatchOrder:
    """The order in which a training learns the sequences.

    Packed ones are all of one length, but for the last of each unit, which has the shortest
    examples: these would come together.
    """
    by_length = settings.group_by_length and not data.facts.packing
    return GlobalBatchOrder(data.lengths, settings.global_batch_size, settings.seed, by_length)


def rows_reached(data: TrainingData, order: GlobalBatchOrder, steps: int) -> int:
    """How many rows of the corpora were begun within so many steps from the start."""
    import numpy as np

    rows = data.train.data.column("rows").to_numpy()
    if steps < order.batches:
        rows = rows[np.unique(order.rows_of(0)[: steps * order.batch_rows])]
    return int(rows.sum())


def joined(parts: list[Path]) -> Any | None:
    """One `datasets.Dataset` of several Arrow files, None of none; rows come as numpy arrays."""
    from datasets import Dataset, concatenate_datasets

    if not parts:
        return None
    files = [Dataset.from_file(str(part)) for part in parts]
    return concatenate_datasets(files).with_format("numpy")


def pad_token(tokenizer: Any) -> int:
    """Number of the token that fills up rows, which is never learnt nor looked at."""
    padding = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if padding is None else padding)


def make_collator(pad_token_id: int, one_line: bool) -> Callable[[list[Any]], dict[str, Any]]:
    """Puts rows into tensors: padded to the longest, packed ones with the borders of examples.

    `one_line` lays packed sequences end to end, as the kernels of FlashAttention want it; the
    masks of other kernels would grow with the square of that.
    """
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    padded = DataCollatorForLanguageModeling(pad_token_id)
    laid_out = DataCollatorForLanguageModeling(pad_token_id, padding_free=True)

    def collate(rows: list[Any]) -> dict[str, Any]:
        if "seq_lengths" not in rows[0]:
            batch: dict[str, Any] = padded(rows)
        elif one_line:
            batch = laid_out(rows)
        else:
            batch = packed_batch(rows, pad_token_id)
        return batch

    return collate


def packed_batch(rows: list[Any], filler: int) -> dict[str, Any]:
    """Packed sequences as the lines of one batch.

    Positions begin anew with every example, from which transformers (`find_packed_sequence_indices`
    in masking_utils) makes the mask that keeps examples apart; there must be no `attention_mask`
    then. `seq_idx` tells the same to kernels of convolutions. The first token of an example is
    not learnt: what stands before it is another example. Padding is as one more example.
    """
    import torch
    from torch.nn.functional import pad

    width = max(len(row["input_ids"]) for row in rows)
    lines = []
    for row in rows:
        padding = width - len(row["input_ids"])
        sizes = torch.as_tensor([*row["seq_lengths"], padding])
        starts = sizes.cumsum(0) - sizes
        labels = pad(torch.as_tensor(row["labels"]), (0, padding), value=NOT_LEARNT)
        labels[starts[starts < width]] = NOT_LEARNT
        lines.append(
            {
                "input_ids": pad(torch.as_tensor(row["input_ids"]), (0, padding), value=filler),
                "labels": labels,
                "position_ids": torch.arange(width) - starts.repeat_interleave(sizes),
                "seq_idx": torch.arange(len(sizes)).repeat_interleave(sizes).int(),
            }
        )
    return {name: torch.stack([line[name] for line in lines]) for name in lines[0]}
