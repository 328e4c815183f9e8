"""How much a training step computes, and how much of a GPU that is (MFU).

Model FLOPs utilization as defined by Chowdhery et al. 2022 (PaLM, appendix B): 6 FLOPs for each
weight and token of forward and backward pass, and 12 for each layer, channel and token attended.
What is computed twice (gradient checkpointing) does not count.
"""

from math import prod
from pathlib import Path
from typing import Any

from hala_hpc.core.files import read_json
from hala_hpc.engines.models.tensors import tensor_headers

#: Kinds of layers that attend, as transformers names them in `layer_types`.
ATTENDING = ("full_attention", "sliding_attention")


def flops_per_token(model: Path, mean_tokens: float) -> float:
    """FLOPs of forward and backward pass for one token of rows with `mean_tokens` tokens.

    A table that only looks tokens up counts for nothing; one that is the output head as well does.
    """
    shapes = {name: header.shape for name, header in tensor_headers(model).items()}
    weights = sum(prod(shape) for shape in shapes.values())
    if any(name.endswith("lm_head.weight") for name in shapes):
        looked_up = (n for n in shapes if n.endswith("embed_tokens.weight"))
        weights -= sum(prod(shapes[name]) for name in looked_up)
    config: dict[str, Any] = read_json(model / "config.json")
    kinds = config.get("layer_types") or ["full_attention"] * config["num_hidden_layers"]
    layers = sum(kind in ATTENDING for kind in kinds)
    return 6.0 * weights + 12.0 * layers * int(config["hidden_size"]) * mean_tokens
