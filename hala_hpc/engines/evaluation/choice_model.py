"""lm-eval's model with choices scored in as few passes as possible.

lm-eval 0.4.13 computes the logits of all positions, and reads a question once for each choice
unless only last tokens differ.
"""

import inspect
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Any

from hala_hpc.core.out_of_memory import is_gpu_out_of_memory
from hala_hpc.engines.evaluation.batch_budget import (
    FIRST_TOKENS_CPU,
    FIRST_TOKENS_GPU,
    BatchBudget,
)
from hala_hpc.engines.evaluation.choice_rows import (
    ChoiceRow,
    describe_ways,
    plan_rows,
    requests_of,
    ways_of,
)

logger = logging.getLogger(__name__)

#: Longer texts are scored by lm-eval itself: their logits at all positions are needed anyway.
MAX_CHOICE_TOKENS = 64
#: Rows of a batch have at least this share of the tokens of its longest.
MIN_LENGTH_SHARE = 0.8


#: Placeholder for the class of lm-eval's hf model, which is heavy to import.
Base: Any = object


def choice_model_class() -> Any:
    """The class of a model for lm-eval; its choices go through `ChoiceScorer`."""
    from lm_eval.models.huggingface import HFLM

    return type("ChoiceModel", (ChoiceModel, HFLM), {})


class ChoiceModel(Base):  # type: ignore[misc]
    """lm-eval's hf model; counts by task how its choices were scored."""

    def __init__(self, **arguments: Any) -> None:
        # lm-eval encodes a question again for each of its choices, each time after question and
        # choice: the last two texts are enough.
        self._encode = lru_cache(maxsize=2)(super().tok_encode)
        super().__init__(**arguments)
        is_gpu = self.device.type == "cuda"
        self.budget = BatchBudget(FIRST_TOKENS_GPU if is_gpu else FIRST_TOKENS_CPU)
        self.ways: dict[str, Counter[str]] = defaultdict(Counter)
        self._way_of: dict[Any, str] = {}

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        """Log-probability of each continuation, and whether it is the most probable one."""
        self._way_of.clear()
        answers = super().loglikelihood(requests, disable_tqdm=disable_tqdm)
        count_ways(requests, self._way_of, self.ways)
        return answers

    def describe_ways(self, task: str) -> str:
        """How the choices of a task were scored, for its signature."""
        return describe_ways(self.ways.get(task, {}))

    def count_tokens(self, tokens: int) -> None:
        """Called with the tokens of each batch of choices, without padding."""

    def tok_encode(self, string: str, *given: Any, **named: Any) -> Any:
        """Tokens of a text."""
        if given or named:
            return super().tok_encode(string, *given, **named)
        return self._encode(string)

    def _loglikelihood_tokens(
        self, requests: Any, disable_tqdm: bool = False, override_bs: Any = None
    ) -> Any:
        # Of all requests, also those whose answers an earlier attempt has left.
        ours, _ = split_requests(requests, self.backend)
        self._way_of.update(name_ways([requests[index] for index in ours], self.max_length))
        return self.answer_tokens(requests, disable_tqdm, override_bs)

    def answer_tokens(
        self, requests: Any, disable_tqdm: bool = False, override_bs: Any = None
    ) -> list[Any]:
        """The answers to tokenized requests, in their order."""
        ours, rest = split_requests(requests, self.backend)
        answers: dict[int, Any] = {}
        if rest:
            asked = [requests[index] for index in rest]
            found = super()._loglikelihood_tokens(asked, disable_tqdm, override_bs)
            answers.update(zip(rest, found, strict=True))
        if ours:
            scorer = ChoiceScorer(self)
            answers.update(zip(ours, scorer.score([requests[i] for i in ours]), strict=True))
        return [answers[index] for index in range(len(requests))]


def split_requests(requests: Sequence[Any], backend: str) -> tuple[list[int], list[int]]:
    """Indices of tokenized requests that ChoiceScorer scores, and of those that lm-eval does."""
    sizes = [len(choice) for _, _, choice in requests]
    limit = MAX_CHOICE_TOKENS if backend == "causal" else 0
    ours = [index for index, size in enumerate(sizes) if size <= limit]
    return ours, [index for index, size in enumerate(sizes) if size > limit]


def count_ways(
    requests: Sequence[Any], way_of: Mapping[Any, str], ways: Mapping[str, Counter[str]]
) -> None:
    """Count by task how its requests were scored; `way_of`: by question and choice."""
    for request in requests:
        if way := way_of.get(request.args):
            ways[str(request.task_name)][way] += 1


def name_ways(requests: Sequence[Any], max_length: int) -> dict[Any, str]:
    """How each tokenized request is scored together with the others, by its texts."""
    asked = requests_of(requests)
    ways = ways_of(asked, plan_rows(asked, max_length))
    return {requests[index][0]: way for index, way in ways.items()}


class ChoiceScorer:
    """Scores tokenized requests with a loaded ChoiceModel."""

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        parameters = inspect.signature(lm.model.forward).parameters
        self.can_select = "logits_to_keep" in parameters

    def score(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """The log-probability of each choice, and whether each of its tokens is the most probable.

        Raises: the error of the device if a single row exceeds its memory.
        """
        asked = requests_of(requests)
        rows = plan_rows(asked, self.lm.max_length)
        answers: dict[int, tuple[float, bool]] = {}
        done = 0
        while done < len(rows):
            batch = self.next_batch(rows, done)
            found = self.try_batch(batch)
            if found is None:
                continue
            for index, answer in found.items():
                answers[index] = answer
                # A window of a long text has no texts.
                if (texts := requests[index][0]) is not None:
                    self.lm.cache_hook.add_partial("loglikelihood", texts, answer)
            done += len(batch)
        return [answers[index] for index in range(len(asked))]

    def next_batch(self, rows: Sequence[ChoiceRow], first: int) -> Sequence[ChoiceRow]:
        """The rows from the first on that fit into the budget of tokens, at least one.

        Rows that are much shorter are left to the next batch: padding would cost more.
        """
        longest = len(rows[first].tokens)
        count = max(1, self.lm.budget.tokens // longest)
        shortest = MIN_LENGTH_SHARE * longest
        return list(takewhile(lambda row: len(row.tokens) >= shortest, rows[first : first + count]))

    def try_batch(self, batch: Sequence[ChoiceRow]) -> dict[int, tuple[float, bool]] | None:
        """Score rows; None if memory is too small, and the budget is halved.

        Raises: the error of the device if a single row exceeds its memory.
        """
        import torch

        budget, started = self.lm.budget, time.monotonic()
        try:
            found = self.score_batch(batch)
        except RuntimeError as error:
            if not is_gpu_out_of_memory(error, "") or len(batch) == 1 or not budget.halve():
                raise
            logger.warning("batches of %s tokens: the memory is too small for more", budget.tokens)
            torch.cuda.empty_cache()
            return None
        tokens = sum(len(row.tokens) for row in batch)
        self.lm.count_tokens(tokens)
        budget.record(tokens, len(batch) * len(batch[0].tokens), time.monotonic() - started)
        return found

    def score_batch(self, batch: Sequence[ChoiceRow]) -> dict[int, tuple[float, bool]]:
        """Score the choices of rows that are padded to the length of the first."""
        import torch

        device = self.lm.device
        length = len(batch[0].tokens)
        padded = [[*row.tokens, *[0] * (length - len(row.tokens))] for row in batch]
        # One entry for each token of each choice: its row, the position before it, its id.
        reads = [
            (number, choice.start + offset, token)
            for number, row in enumerate(batch)
            for choice in row.choices
            for offset, token in enumerate(choice.tokens)
        ]
        positions = sorted({position for _, position, _ in reads})
        logits = self.logits_at(torch.tensor(padded, device=device), positions)
        column = {position: index for index, position in enumerate(positions)}
        # Each position of a row once, as all choices of a question read the same ones.
        places = list(dict.fromkeys((number, position) for number, position, _ in reads))
        at = {place: index for index, place in enumerate(places)}
        picked = logits[
            torch.tensor([number for number, _ in places], device=device),
            torch.tensor([column[position] for _, position in places], device=device),
        ]
        scores = torch.log_softmax(picked, dim=-1, dtype=self.lm.softmax_dtype or torch.float32)
        lines = torch.tensor([at[number, position] for number, position, _ in reads], device=device)
        tokens = torch.tensor([token for _, _, token in reads], device=device)
        values = scores[lines, tokens].tolist()
        is_best = (scores.argmax(dim=-1)[lines] == tokens).tolist()
        return sum_choices(batch, values, is_best)

    def logits_at(self, inputs: Any, positions: Sequence[int]) -> Any:
        """Logits [row, position, vocabulary] of some positions of all rows."""
        import torch

        mixed = self.lm.mixed_precision_dtype
        with (
            torch.inference_mode(),
            torch.autocast(self.lm.device.type, dtype=mixed, enabled=mixed is not None),
        ):
            wanted = torch.tensor(positions, device=inputs.device)
            # Rows are padded at their ends, which no earlier position sees.
            if self.can_select:
                return self.lm.model(inputs, logits_to_keep=wanted, use_cache=False).logits
            return self.lm.model(inputs, use_cache=False).logits[:, wanted]


def sum_choices(
    batch: Sequence[ChoiceRow], values: Sequence[float], is_best: Sequence[bool]
) -> dict[int, tuple[float, bool]]:
    """The answers by request; `values` and `is_best`: of each token of each choice, in order."""
    found: dict[int, tuple[float, bool]] = {}
    start = 0
    for row in batch:
        for choice in row.choices:
            end = start + len(choice.tokens)
            found[choice.request] = (sum(values[start:end]), all(is_best[start:end]))
            start = end
    return found
