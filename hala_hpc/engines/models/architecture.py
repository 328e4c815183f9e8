"""Layers of a model: those with a state for each row, and the FLOPs of a token.

FLOPs are those of model FLOPs utilization (MFU) as defined by Chowdhery et al. 2022 (PaLM,
appendix B): 6 for each weight and token of forward and backward pass, and 12 for each layer,
channel and token attended. Recomputation (gradient checkpointing) does not count.
"""

from math import prod
from pathlib import Path
from typing import Any

from hala_hpc.core.files import read_json
from hala_hpc.engines.models.tensors import tensor_headers
from hala_hpc.engines.models.vocabulary import TOKEN_TABLES, is_embedding_table

#: Kinds of layers with a state for each row, as transformers names them.
STATE_LAYERS = ("conv", "mamba", "linear_attention", "recurrent")
#: Kinds of attention layers, as transformers names them in `layer_types`.
ATTENDING = ("full_attention", "sliding_attention")


def has_row_states(config: Any) -> bool:
    """Whether a model has layers with a state for each row, such as convolutions and Mamba."""
    kinds = getattr(config, "layer_types", None) or []
    return any(kind in STATE_LAYERS for kind in kinds)


def flops_per_token(model: Path, mean_tokens: float) -> float:
    """Return the FLOPs of forward and backward pass for a token in rows of `mean_tokens` tokens.

    An embedding that is only looked up does not count; one that is also the output head does.
    """
    shapes = {name: header.shape for name, header in tensor_headers(model).items()}
    weights = sum(prod(shape) for shape in shapes.values())
    if any(name.endswith("lm_head.weight") for name in shapes):
        lookup_tables = (name for name in shapes if is_embedding_table(name, TOKEN_TABLES))
        weights -= sum(prod(shapes[name]) for name in lookup_tables)
    config: dict[str, Any] = read_json(model / "config.json")
    # LFM2's config names the attention layers, and none of the others.
    attending = config.get("full_attn_idxs") or range(config["num_hidden_layers"])
    kinds = config.get("layer_types") or ["full_attention"] * len(attending)
    layers = sum(kind in ATTENDING for kind in kinds)
    return 6.0 * weights + 12.0 * layers * int(config["hidden_size"]) * mean_tokens
