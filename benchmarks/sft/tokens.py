"""The token files of the `sft` benchmark, and the fill of batches of them."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from hala_hpc.engines.training.dataset import GlobalBatchOrder, load_training_data, read_facts
from hala_hpc.engines.training.passes import (
    CPU_PASS_COST_TOKENS,
    StepCut,
    count_passes,
    plan_passes,
)

#: Of one core each.
RANKS = 2
MICRO_ROWS, GLOBAL_ROWS = 8, 64
MAX_LENGTH = 512
#: Maximum padded tokens of a pass of `sft`: as many as the plain script has for long rows.
PASS_TOKENS = MICRO_ROWS * MAX_LENGTH
SEED = 0


class Tokens:
    """Token files that `tokenize` made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = read_facts(folder)

    @cached_property
    def lengths(self) -> Any:
        """Tokens of each sequence."""
        return load_training_data(self.folder).lengths

    @property
    def tokens_a_row(self) -> float:
        """Tokens of a sequence, mean."""
        return self.facts.tokens / self.facts.sequences

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.order(grouped=False).batches

    def order(self, grouped: bool) -> GlobalBatchOrder:
        """The order in which `sft` trains on them."""
        return GlobalBatchOrder(self.lengths, GLOBAL_ROWS, SEED, grouped)

    def fill(self, grouped: bool) -> float:
        """Return the share of slots in `sft` passes that are not padding."""
        steps = self.lengths[self.order(grouped).epoch_rows(0)].reshape(-1, GLOBAL_ROWS).tolist()
        cut = StepCut(RANKS, PASS_TOKENS, CPU_PASS_COST_TOKENS)
        found = [count_passes(lengths, plan_passes(lengths, cut)) for lengths in steps]
        return sum(one.tokens for one in found) / sum(one.padded_tokens for one in found)

    def plain_fill(self) -> float:
        """Return the same for rows in random order, TRL's default."""
        import numpy as np

        rows = np.random.default_rng(SEED).permutation(len(self.lengths))
        whole = len(rows) // MICRO_ROWS * MICRO_ROWS
        return fill_of(rows[:whole], self.lengths, MICRO_ROWS)

    def after_first_step(self, grouped: bool) -> int:
        """Tokens of all steps of `sft` except the first."""
        rows = self.order(grouped).epoch_rows(0)[GLOBAL_ROWS:]
        return int(self.lengths[rows].sum())


def trl_tokens_a_row(model: Path, prompts: Path) -> int:
    """Return TRL's tokens of the first row of prompts and completions.

    TRL keeps the line break that a template puts after the last answer; `tokenize` drops it.
    """
    from transformers import AutoTokenizer

    with prompts.open(encoding="utf-8") as lines:
        row = json.loads(next(lines))
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    turns = row["prompt"] + row["completion"]
    return len(tokenizer.apply_chat_template(turns, return_dict=False))


def fill_of(rows: Any, lengths: Any, micro_rows: int) -> float:
    """Return the share of token slots without padding if so many consecutive rows share a pass.

    Every pass is padded to its longest row. `rows` are row numbers in training order, a multiple of
    `micro_rows` of them; `lengths` are the tokens of each row.
    """
    passes = lengths[rows].reshape(-1, micro_rows)
    return float(passes.sum() / (passes.max(axis=1).sum() * micro_rows))
