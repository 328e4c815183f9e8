"""Memory of a pass of a model by torch's memory tracker, with fake tensors."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hala_hpc.engines.training.pass_memory import Pass


class Tracked(NamedTuple):
    """Peak memory of a pass in bytes, including weights and gradients."""

    peak: int
    weights: int
    """Number of weights of the model."""


def tracked_pass(config: Mapping[str, Any], work: Pass) -> Tracked:
    """Run forward and backward passes of the layers, without output head, on rows of equal length.

    Gradients of an earlier pass exist already, as in gradient accumulation.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    known = AutoConfig.for_model(**config)
    dtype = torch.float32 if work.is_float32 else torch.bfloat16
    with FakeTensorMode(), no_init_weights():
        model = AutoModelForCausalLM.from_config(
            known, dtype=dtype, attn_implementation=work.attention
        )
        # Otherwise only weight initialization, which is skipped here, ties them.
        model.tie_weights()
        model.train()
        if work.is_checkpointed:
            options = {"use_reentrant": False, "preserve_rng_state": False}
            model.gradient_checkpointing_enable(options)
        for weight in model.parameters():
            weight.grad = torch.empty_like(weight)
        rows = work.tokens // work.row_tokens
        ids = torch.zeros(rows, work.row_tokens, dtype=torch.int64)
        tracker = MemTracker()
        tracker.track_external(model)
        with tracker:
            masks = masks_of(known, work, dtype)
            found = model.model(input_ids=ids, attention_mask=masks, use_cache=False)
            found.last_hidden_state.sum().backward()
        peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
        return Tracked(peak, sum(weight.numel() for weight in model.parameters()))


def masks_of(config: Any, work: Pass, dtype: Any) -> dict[str, Any]:
    """A mask for each kind of layer, as for batches with padding: computed from tensor contents."""
    import torch

    rows, length = work.tokens // work.row_tokens, work.row_tokens
    mask = torch.ones(rows, 1, length, length, dtype=torch.bool)
    if work.attention == "eager":
        mask = torch.zeros(rows, 1, length, length, dtype=dtype)
    places = torch.ones(rows, length, dtype=torch.int64)
    return {kind: places if kind == "conv" else mask for kind in set(config.layer_types)}
