"""The token files that `sft` learns in its measurement, and how full batches of them are."""

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
#: Padded tokens of a pass of ours at most: as many as one of the plain script has of long rows.
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
        """The order in which `sft` learns them."""
        return GlobalBatchOrder(self.lengths, GLOBAL_ROWS, SEED, grouped)

    def fill(self, grouped: bool) -> float:
        """Share of the slots of our passes that are no padding."""
        steps = self.lengths[self.order(grouped).epoch_rows(0)].reshape(-1, GLOBAL_ROWS).tolist()
        cut = StepCut(RANKS, PASS_TOKENS, CPU_PASS_COST_TOKENS)
        found = [count_passes(lengths, plan_passes(lengths, cut)) for lengths in steps]
        return sum(one.tokens for one in found) / sum(one.padded_tokens for one in found)

    def plain_fill(self) -> float:
        """The same for rows in random order, as TRL takes them unless told otherwise."""
        import numpy as np

        rows = np.random.default_rng(SEED).permutation(len(self.lengths))
        whole = len(rows) // MICRO_ROWS * MICRO_ROWS
        return fill_of(rows[:whole], self.lengths, MICRO_ROWS)

    def after_first_step(self, grouped: bool) -> int:
        """Tokens of all steps of ours but the first."""
        rows = self.order(grouped).epoch_rows(0)[GLOBAL_ROWS:]
        return int(self.lengths[rows].sum())


def trl_tokens_a_row(model: Path, prompts: Path) -> int:
    """Tokens that TRL makes of the first row of prompts and completions.

    It keeps the line break that a template puts behind the last answer; `tokenize` leaves it out.
    """
    from transformers import AutoTokenizer

    with prompts.open(encoding="utf-8") as lines:
        row = json.loads(next(lines))
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    turns = row["prompt"] + row["completion"]
    return len(tokenizer.apply_chat_template(turns, return_dict=False))


def fill_of(rows: Any, lengths: Any, micro_rows: int) -> float:
    """Share of the token slots that are no padding when so many consecutive rows share a pass.

    Every pass is padded to its longest row. `rows` are numbers of rows in the order of
    training, a multiple of `micro_rows` of them; `lengths` are the tokens of each row.
    """
    passes = lengths[rows].reshape(-1, micro_rows)
    return float(passes.sum() / (passes.max(axis=1).sum() * micro_rows))
