"""Sizes of the work: the shape of LFM2-1.2B on a GPU, thin on CPUs."""

from pathlib import Path
from typing import Any, NamedTuple

from hala_hpc.core.paths import read_toml

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ROOT / "hala_hpc" / "commands" / "planning" / "throughput.toml"
MODEL = "LiquidAI/LFM2-1.2B"
#: What makes those numbers thin.
THIN: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "full_attn_idxs": [1],
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 512,
}  # fmt: skip


class Scale(NamedTuple):
    """Sizes of the work."""

    is_thin: bool
    steps: int
    """Of each training."""
    warm_steps: int
    """Of these, first ones that do not count."""
    rows: int
    """Of a step."""
    pass_tokens: int
    """Maximum padded tokens of a pass."""
    longest_row: int
    """In tokens."""
    questions: int
    scored_tokens: int
    """Maximum padded tokens of a batch of questions."""
    capped_tokens: int
    """Of a row whose attention is capped."""
    product_side: int
    """Rows and columns of a product of matrices."""

    def shape(self) -> dict[str, Any]:
        """The config of the model: an LFM2."""
        shape: dict[str, Any] = read_toml(SHAPES)["shapes"][MODEL]
        return shape | (THIN if self.is_thin else {})

    def attention_shape(self) -> dict[str, Any]:
        """Config of a model of the same widths with attention in all layers, for packing."""
        shape = {**self.shape(), "model_type": "qwen2", "tie_word_embeddings": True}
        del shape["full_attn_idxs"], shape["block_auto_adjust_ff_dim"]
        return shape


CARD = Scale(
    is_thin=False, steps=6, warm_steps=2, rows=64, pass_tokens=16384, longest_row=4096,
    questions=2000, scored_tokens=65536, capped_tokens=1024, product_side=8192,
)  # fmt: skip
SMALL = Scale(
    is_thin=True, steps=2, warm_steps=1, rows=4, pass_tokens=256, longest_row=128,
    questions=8, scored_tokens=512, capped_tokens=64, product_side=256,
)  # fmt: skip


class Place(NamedTuple):
    """Inputs of a part."""

    scale: Scale
    work: Path
    """Folder shared by all parts, so that files are made once."""
