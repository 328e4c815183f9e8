"""Layers that keep a state for each row: caches and packing meet them otherwise than attention."""

from typing import Any

#: Kinds of layers, as transformers names them, that keep a state for each row.
STATE_LAYERS = ("conv", "mamba", "linear_attention", "recurrent")


def has_row_states(config: Any) -> bool:
    """Whether layers of a model keep a state for each row, as convolutions and Mamba do."""
    kinds = getattr(config, "layer_types", None) or []
    return any(kind in STATE_LAYERS for kind in kinds)
