"""Which tensors of a model are attention, feed-forward, convolution, norm and embedding.

Tensor names differ between families: `mlp` of Qwen2 is `feed_forward` of LFM2. The names are those
of checkpoints, as transformers 5.19 writes them.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

ATTENTION, FEED_FORWARD, CONV = "attention", "feed_forward", "conv"
NORM, EMBEDDING, REST = "norm", "embedding", "rest"
#: Kinds that a setting may name.
KINDS = (ATTENTION, FEED_FORWARD, CONV, NORM, EMBEDDING)

#: Module names that families usually have.
COMMON = {
    "self_attn": ATTENTION,
    "mlp": FEED_FORWARD,
    "input_layernorm": NORM,
    "post_attention_layernorm": NORM,
    "norm": NORM,
    "embed_tokens": EMBEDDING,
    "lm_head": EMBEDDING,
}
QUERY_NORMS = {"q_norm": NORM, "k_norm": NORM}
FOUR_NORMS = {"pre_feedforward_layernorm": NORM, "post_feedforward_layernorm": NORM}
#: Kind of each module by the `model_type` of a config.
MODULE_KINDS: dict[str, dict[str, str]] = {
    "lfm2": {
        "self_attn": ATTENTION,
        "feed_forward": FEED_FORWARD,
        "conv": CONV,
        "operator_norm": NORM,
        "ffn_norm": NORM,
        "q_layernorm": NORM,
        "k_layernorm": NORM,
        "embedding_norm": NORM,
        "embed_tokens": EMBEDDING,
        "lm_head": EMBEDDING,
    },
    "llama": COMMON,
    "mistral": COMMON,
    "qwen2": COMMON,
    "qwen3": COMMON | QUERY_NORMS,
    "gemma": COMMON,
    "gemma2": COMMON | FOUR_NORMS,
    "gemma3_text": COMMON | FOUR_NORMS | QUERY_NORMS,
    "cohere": COMMON | QUERY_NORMS,
    "cohere2": COMMON,
}


class LayerPlace(NamedTuple):
    """Kind and depth of a tensor in its model."""

    kind: str
    """One of KINDS; REST if it is not in the family's table."""
    depth: float
    """0 for the first layer to 1 for the last; 0 outside of the layers, as in mergekit."""


class LayerMap:
    """Return kind and depth of every tensor of a model, by its config and the tensor names."""

    def __init__(self, config: Mapping[str, Any], names: Iterable[str]) -> None:
        self.family = str(config.get("model_type", ""))
        self.modules = MODULE_KINDS.get(self.family, {})
        self.names = tuple(names)
        numbers = [number for name in self.names if (number := layer_number(name)) is not None]
        self.layers = max(numbers, default=-1) + 1

    def place(self, name: str) -> LayerPlace:
        """Return kind and depth of a tensor."""
        number = layer_number(name)
        # In mergekit the only layer of a model has the end of a gradient.
        depth = 1.0 if self.layers == 1 else (number or 0) / max(1, self.layers - 1)
        return LayerPlace(self.kind(name), depth if number is not None else 0.0)

    def kind(self, name: str) -> str:
        """Return the kind of a tensor, by its innermost module: a norm in attention is a norm."""
        for module in reversed(name.split(".")[:-1]):
            if module in self.modules:
                return self.modules[module]
        return REST

    def touched(self, kind: str) -> list[str]:
        """Return the tensors of a kind."""
        return [name for name in self.names if self.kind(name) == kind]


def layer_number(name: str) -> int | None:
    """Return the layer number of a tensor: 3 for `model.layers.3.mlp.up_proj.weight`."""
    parts = name.split(".")
    for before, number in pairwise(parts):
        if before == "layers" and number.isdigit():
            return int(number)
    return None


def kind_faults(setting: str, kinds: Iterable[str], layers: LayerMap) -> list[str]:
    """Return a line for each kind of a setting that has no tensor in the model."""
    wanted = list(kinds)
    if wanted and not layers.modules:
        known = ", ".join(MODULE_KINDS)
        family = layers.family or "unknown"
        return [
            f"{setting}.{wanted[0]}: which tensors of a model of the type {family!r} that is, is "
            f"not known (known: {known}); give {setting} one value for all layers"
        ]
    present = [kind for kind in KINDS if layers.touched(kind)]
    return [
        f"{setting}.{kind}: a model of the type {layers.family!r} has no such tensor, only "
        f"{', '.join(present)}; remove {setting}.{kind}"
        for kind in wanted
        if kind not in present
    ]
