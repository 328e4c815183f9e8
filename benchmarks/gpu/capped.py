"""Attention with a logit cap (Gemma 2): flex forward and backward compared with eager in float32.

torch has no backward pass of flex attention for CPUs, so no test covers it. Heads are as wide as
those of Gemma 2, whose kernel takes nearly all of a GPU's shared memory.
"""

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.faults import faults, summarize_fault
from benchmarks.gpu.scale import Place
from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.models.attention import EAGER, FLEX, SDPA

#: Makes logits of some hundreds, where the cap is 50: without the cap the losses differ.
SHARPNESS = 60.0
HEAD_WIDTH = 256
#: Tolerance as a share of the largest number: sums in another order.
TOLERANCES = {"float32": 1e-3, "bfloat16": 5e-2}


class CapFigures(JsonRecord):
    """One kernel compared with eager in float32, with the same weights and rows."""

    attention: str
    dtype: str
    not_run: str | None = None
    loss: float | None = None
    loss_eager: float | None = None
    logits_differ: float | None = None
    """Largest difference of two logits, as a share of the largest logit."""
    gradients_differ: float | None = None
    """The same for the gradients of all weights; the worst weight counts."""
    eager_differs: float | None = None
    """The larger of both for eager in the same type."""
    seconds: float | None = None
    """Seconds of a forward and backward pass, after compilation."""
    seconds_eager: float | None = None
    is_equal: bool | None = None
    """Whether the difference is within the tolerance of the type or that of eager in the type."""


class Outcome:
    """Loss, logits and gradients of a pass on the CPU, in float32."""

    def __init__(self, model: Any, batch: dict[str, Any]) -> None:
        import torch

        # The first pass compiles.
        for _ in range(2):
            model.zero_grad()
            self.seconds = -time.monotonic()
            answer = model(**batch)
            answer.loss.backward()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.seconds += time.monotonic()
        self.loss = float(answer.loss.detach())
        # Logits at padding are meaningless.
        attended = batch["attention_mask"].bool()
        self.logits = answer.logits.detach()[attended].float().cpu()
        self.gradients = {
            name: weight.grad.float().cpu() for name, weight in model.named_parameters()
        }


def run(place: Place) -> Iterator[CapFigures]:
    """Each kernel in each type; sdpa, which drops the cap, must differ."""
    import torch

    on_gpu = torch.cuda.is_available()
    batch = rows(place)
    # The type of trainings first: the part may be ended before the other.
    for dtype in ("bfloat16", "float32") if on_gpu else ("float32",):
        # Weights as the type rounds them, so that arithmetic alone differs.
        exact = Outcome(model_with(EAGER, dtype, place).float(), batch)
        eager = Outcome(model_with(EAGER, dtype, place), batch)
        for attention in (FLEX, SDPA):
            if attention == FLEX and not on_gpu:
                why = "torch has no backward pass of it for CPUs: it needs a GPU"
                yield CapFigures(attention=attention, dtype=dtype, not_run=why)
                continue
            try:
                other = Outcome(model_with(attention, dtype, place), batch)
            except faults() as error:
                yield CapFigures(attention=attention, dtype=dtype, not_run=summarize_fault(error))
                continue
            figures = compared(other, eager, exact, TOLERANCES[dtype])
            yield figures.model_copy(update={"attention": attention, "dtype": dtype})


def model_with(attention: str, dtype: str, place: Place) -> Any:
    """A Gemma 2 of two layers, one with a window, always of the same weights."""
    import torch
    from transformers import AutoModelForCausalLM, Gemma2Config

    tokens = place.scale.capped_tokens
    config = Gemma2Config(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=HEAD_WIDTH,
        query_pre_attn_scalar=HEAD_WIDTH,
        sliding_window=tokens // 4,
        max_position_embeddings=tokens,
        attn_logit_softcapping=50.0,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "q_proj" in name:
                weight.mul_(SHARPNESS)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device, getattr(torch, dtype)).train()


def rows(place: Place) -> dict[str, Any]:
    """Two rows, the second padded by a third."""
    import torch

    tokens = place.scale.capped_tokens
    ids = torch.randint(0, 512, (2, tokens), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, tokens - tokens // 3 :] = 0
    labels = torch.where(mask.bool(), ids, -100)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {name: value.to(device) for name, value in batch.items()}


def compared(one: Outcome, eager: Outcome, exact: Outcome, tolerance: float) -> CapFigures:
    """Differences of a kernel, and of eager in its type, from eager in float32."""
    logits, gradients = distances(one, exact)
    eager_differs = max(distances(eager, exact))
    return CapFigures(
        attention="",
        dtype="",
        loss=one.loss,
        loss_eager=exact.loss,
        logits_differ=logits,
        gradients_differ=gradients,
        eager_differs=eager_differs,
        seconds=round(one.seconds, 4),
        seconds_eager=round(eager.seconds, 4),
        is_equal=max(logits, gradients) <= max(tolerance, eager_differs),
    )


def distances(one: Outcome, exact: Outcome) -> tuple[float, float]:
    """Differences of logits and gradients, each as a share of the largest."""
    gradients = (apart(one.gradients[name], exact.gradients[name]) for name in exact.gradients)
    return apart(one.logits, exact.logits), max(gradients)


def apart(one: Any, other: Any) -> float:
    """The largest difference of two tensors, as a share of the largest number."""
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-12))
