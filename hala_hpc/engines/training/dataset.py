"""The token files of a training, the order of their rows, and their batches."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.engines.training.tokens.examples import IGNORE_INDEX
from hala_hpc.engines.training.tokens.names import TOKENS_FILE, TokenFacts
from hala_hpc.engines.training.tokens.packing import packed_batch

#: Global batches within which rows of similar length are grouped. More of them mean less padding
#: and less mixing.
MIXED_BATCHES = 50


@dataclass(frozen=True)
class TrainingData:
    """The training rows, and the held-out rows for evaluation."""

    train: Any
    """A `datasets.Dataset` with `input_ids`, `labels`, `length`, `rows`, and with packing
    `seq_lengths`; its rows are sequences."""
    held_out: Any
    """The same, never packed; None without held-out rows."""
    facts: TokenFacts

    @cached_property
    def lengths(self) -> Any:
        """Tokens of each sequence of `train`, a numpy array."""
        return self.train.data.column("length").to_numpy()

    def measured_rows(self, multiple: int) -> Any:
        """Return the held-out rows, padded to a multiple of `multiple`; None if there are none.

        The padding rows have one token without a label: every rank has the same number of passes.
        """
        if self.held_out is None:
            return None
        from datasets import Dataset, concatenate_datasets

        rows = self.held_out.select_columns(["input_ids", "labels", "length"])
        missing = -len(rows) % multiple
        empty: dict[str, list[Any]] = {"input_ids": [[0]] * missing, "length": [1] * missing}
        empty["labels"] = [[IGNORE_INDEX]] * missing
        filling = Dataset.from_dict(empty, features=rows.features).with_format("numpy")
        return concatenate_datasets([rows, filling]) if missing else rows


def read_facts(folder: Path) -> TokenFacts:
    """Read tokens.json of a tokens product. Raises: UserError (NO_INPUT) if it is absent."""
    facts = TokenFacts.read(folder / TOKENS_FILE)
    if facts is None:
        raise UserError(f"{folder}: it has no {TOKENS_FILE}; give a result of tokenize", NO_INPUT)
    return facts


def load_training_data(folder: Path) -> TrainingData:
    """Map the files of a tokens product into memory, without a copy."""
    facts = read_facts(folder)
    train = concatenate_files([folder / name for name in facts.parts])
    held_out = concatenate_files([folder / name for name in facts.held_out_parts])
    return TrainingData(train, held_out, facts)


def concatenate_files(parts: list[Path]) -> Any | None:
    """Return one `datasets.Dataset` of Arrow files, with numpy rows; None without files."""
    from datasets import Dataset, concatenate_datasets

    if not parts:
        return None
    files = [Dataset.from_file(str(part)) for part in parts]
    return concatenate_datasets(files).with_format("numpy")


class GlobalBatchOrder:
    """Order of the rows, epoch by epoch; each epoch is a whole number of global batches.

    It depends only on the seed, the epoch and the global batch size. A global batch is one step.
    `plan_passes` distributes its rows to the ranks, so the number of ranks does not change what a
    step trains on.

    `lengths` are the tokens of each row. Every row occurs once per epoch; the last global batch is
    filled up with the first rows of the same epoch. Within a global batch the longest rows come
    first, which changes no gradient. `by_length` also groups rows of similar length into one
    global batch, within `MIXED_BATCHES` batches, as the length-grouped sampler of transformers
    does. The batches then have a random order, except that the batch with the longest row comes
    first: out of memory shows at once.
    """

    def __init__(self, lengths: Any, batch_rows: int, seed: int, by_length: bool) -> None:
        self.lengths, self.batch_rows, self.seed = lengths, batch_rows, seed
        self.by_length = by_length
        self.batches = -(-len(lengths) // batch_rows)

    def epoch_rows(self, epoch: int) -> Any:
        """Return the row numbers of an epoch, from 0, as a numpy array: batch after batch."""
        import numpy as np

        chance = np.random.default_rng([self.seed % 2**63, epoch])
        rows: Any = np.resize(chance.permutation(len(self.lengths)), self.batches * self.batch_rows)
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


def make_batch_order(data: TrainingData, settings: TrainingSettings) -> GlobalBatchOrder:
    """Return the order in which a training reads the sequences.

    Packed sequences have all one length, except for the last of each unit, which holds the
    shortest examples: grouped by length, these would share a batch.
    """
    by_length = settings.group_by_length and not data.facts.packing
    return GlobalBatchOrder(data.lengths, settings.global_batch_size, settings.seed, by_length)


def rows_seen(data: TrainingData, order: GlobalBatchOrder, steps: int) -> int:
    """Return how many rows of the corpora were started within the first `steps` steps."""
    import numpy as np

    rows = data.train.data.column("rows").to_numpy()
    if steps < order.batches:
        rows = rows[np.unique(order.epoch_rows(0)[: steps * order.batch_rows])]
    return int(rows.sum())


def find_pad_token_id(tokenizer: Any) -> int:
    """Return the id of the padding token, which has neither attention nor a label."""
    padding = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if padding is None else padding)


def make_collator(pad_token_id: int, padding_free: bool) -> Callable[[list[Any]], dict[str, Any]]:
    """Return a collator: rows are padded to the longest, packed ones keep the example borders.

    `padding_free` concatenates packed sequences, as the kernels of FlashAttention expect; the
    masks of other kernels would grow with the square of that length.
    """
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    padded = DataCollatorForLanguageModeling(pad_token_id)
    laid_out = DataCollatorForLanguageModeling(pad_token_id, padding_free=True)

    def collate(rows: list[Any]) -> dict[str, Any]:
        if "seq_lengths" not in rows[0]:
            batch: dict[str, Any] = padded(rows)
        elif padding_free:
            batch = laid_out(rows)
        else:
            batch = packed_batch(rows, pad_token_id)
        return batch

    return collate
