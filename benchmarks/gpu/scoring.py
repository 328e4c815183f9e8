"""Questions with four choices, scored by their log-likelihoods with transformers only.

It is the computation of lm-eval's transformers backend, which `evaluate` uses; lm-eval itself has
too many dependencies for the pack.
"""

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu.checkpoints import lfm2
from benchmarks.gpu.scale import Place
from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.models.attention import (
    AUTO,
    AttentionUse,
    choose_attention,
    read_running_attention,
)

CHOICES = 4
#: Tokens of a question and of a choice (assumed: benchmarks of knowledge have about as many).
QUESTION_TOKENS, CHOICE_TOKENS = (40, 160), (1, 12)
#: Questions that are scored a second time, each row alone: this shows the effect of batching.
CHECKED = 8


class Choice(NamedTuple):
    """A question with one of its choices."""

    ids: list[int]
    own: int
    """Tokens of the choice, at the end."""


class ScoringFigures(JsonRecord):
    """Speed of scoring."""

    attention: str
    questions: int
    questions_per_s: float
    tokens_per_s: float
    """Without padding."""
    alone_differs: float
    """The largest difference of a row's log-likelihood alone and in a batch, in nats."""


def run(place: Place) -> Iterator[ScoringFigures]:
    """Score all questions after a warm-up."""
    model = load(lfm2(place))
    asked = choices(place)
    limit = place.scale.scored_tokens
    scores(model, asked[: CHOICES * CHECKED], limit)
    began = time.monotonic()
    found = scores(model, asked, limit)
    seconds = time.monotonic() - began
    alone = [scores(model, [one], limit)[0] for one in asked[:CHECKED]]
    yield ScoringFigures(
        attention=read_running_attention(model),
        questions=len(asked) // CHOICES,
        questions_per_s=round(len(asked) / CHOICES / seconds, 1),
        tokens_per_s=round(sum(len(one.ids) for one in asked) / seconds, 1),
        alone_differs=max(abs(a - b) for a, b in zip(alone, found, strict=False)),
    )


def load(folder: Path) -> Any:
    """Load the model with the attention that `evaluate` would choose."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    use = AttentionUse(device, "bfloat16", trains=False)
    kernel = choose_attention(AutoConfig.from_pretrained(folder), AUTO, use)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype="bfloat16", attn_implementation=kernel
    )
    return model.to(device).eval()


def choices(place: Place) -> list[Choice]:
    """Make up questions, each four times with another choice."""
    draw, vocab_size = random.Random(0), place.scale.shape()["vocab_size"]
    found = []
    for _ in range(place.scale.questions):
        question = [draw.randrange(vocab_size) for _ in range(draw.randint(*QUESTION_TOKENS))]
        for _ in range(CHOICES):
            own = draw.randint(*CHOICE_TOKENS)
            found.append(Choice(question + [draw.randrange(vocab_size) for _ in range(own)], own))
    return found


def scores(model: Any, asked: Sequence[Choice], max_tokens: int) -> list[float]:
    """Return the log-likelihood of each choice after its question, in nats; longest rows first."""
    import torch

    order = sorted(range(len(asked)), key=lambda number: -len(asked[number].ids))
    found = [0.0] * len(asked)
    with torch.no_grad():
        while order:
            many = max(1, max_tokens // len(asked[order[0]].ids))
            batch, order = order[:many], order[many:]
            sums = batch_scores(model, [asked[number] for number in batch])
            for number, value in zip(batch, sums.tolist(), strict=True):
                found[number] = value
    return found


def batch_scores(model: Any, rows: Sequence[Choice]) -> Any:
    """Score one batch, padded at the right, where earlier tokens do not see it."""
    import torch

    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [0] * (width - len(row.ids)) for row in rows])
    mask = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows])
    inputs = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
    hidden = model.model(**inputs, use_cache=False).last_hidden_state
    # Logits at all positions would take gigabytes: only those of the choices are computed.
    places = [
        (number, place - 1, row.ids[place])
        for number, row in enumerate(rows)
        for place in range(len(row.ids) - row.own, len(row.ids))
    ]
    lines, before, targets = torch.tensor(places, device=model.device).T
    logits = model.lm_head(hidden[lines, before]).float()
    likely = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    return torch.zeros(len(rows), device=model.device).index_add_(0, lines, likely)
