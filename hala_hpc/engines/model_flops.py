"""How much a training step computes, and how much of a GPU that is (MFU).

Model FLOPs utilization as defined by Chowdhery et al. 2022 (PaLM, appendix B): 6 FLOPs for each
weight and token of forward and backward pass, and 12 for each layer, channel and token attended.
What is computed twice (gradient checkpointing) does not count.
"""

from math import prod
from pathlib import Path
from typing import Any

from hala_hpc.core.files import read_json
from hala_hpc.data.tensors import tensor_headers

#: Dense bfloat16 FLOP/s of a GPU, by a word of its name; data sheets of the vendors, no sparsity.
#: The first that fits is taken.
PEAK_FLOPS = {
    "B200": 2.25e15,
    "H100 PCIe": 7.56e14,
    "H100 NVL": 8.35e14,
    "H100": 9.89e14,
    "H200": 9.89e14,
    "GH200": 9.89e14,
    "H800": 9.89e14,
    "A100": 3.12e14,
    "A800": 3.12e14,
    "L40S": 3.62e14,
    "L40": 1.81e14,
    "L4": 1.21e14,
    "A40": 1.50e14,
    "A30": 1.65e14,
    "A10": 1.25e14,
    "MI300X": 1.307e15,
    "MI250": 3.62e14,
}
#: Kinds of layers that attend, as transformers names them in `layer_types`.
ATTENDING = ("full_attention", "sliding_attention")


def flops_per_token(model: Path, mean_tokens: float) -> float:
    """FLOPs of forward and backward pass for one token of rows with `mean_tokens` tokens.

    A table that only looks tokens up counts for nothing; one that is the output head as well does.
    """
    shapes = {name: shape for name, (_, shape) in tensor_headers(model).items()}
    weights = sum(prod(shape) for shape in shapes.values())
    if any(name.endswith("lm_head.weight") for name in shapes):
        looked_up = (n for n in shapes if n.endswith("embed_tokens.weight"))
        weights -= sum(prod(shapes[name]) for name in looked_up)
    config: dict[str, Any] = read_json(model / "config.json")
    kinds = config.get("layer_types") or ["full_attention"] * config["num_hidden_layers"]
    layers = sum(kind in ATTENDING for kind in kinds)
    return 6.0 * weights + 12.0 * layers * int(config["hidden_size"]) * mean_tokens


def peak_flops(gpu: str) -> float | None:
    """Dense bfloat16 FLOP/s of a GPU by its name; None where it is not known."""
    return next((peak for word, peak in PEAK_FLOPS.items() if word in gpu), None)
