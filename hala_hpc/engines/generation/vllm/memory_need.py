"""How much memory a model takes, told from its files without loading it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.models.files import read_object
from hala_hpc.engines.models.tensors import weight_bytes

#: Bytes of one number.
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Need:
    """What a model takes, over all GPUs that share it."""

    weight_bytes: int
    row_bytes: int
    """Key-value cache of one row of `max_model_len` tokens."""
    is_fp8: bool
    """Whether its weights are FP8 numbers."""
    heads: int
    cache_heads: int

    def bytes_per_gpu(self, gpus: int) -> int:
        """Memory on each of so many GPUs; heads of the cache are never split."""
        return self.weight_bytes // gpus + self.row_bytes // min(gpus, self.cache_heads)

    def splits(self, gpus: int) -> bool:
        """Whether vLLM can share the heads among so many GPUs."""
        even = self.cache_heads % gpus == 0 or gpus % self.cache_heads == 0
        return self.heads % gpus == 0 and even


def read_need(folder: Path, settings: EngineSettings) -> Need | None:
    """What the model in a folder takes; None where its config.json does not tell."""
    config = read_object(folder / "config.json") or {}
    text = {**config, **(config.get("text_config") or {})}
    heads = text.get("num_attention_heads")
    if not heads or not text.get("hidden_size") or not text.get("num_hidden_layers"):
        return None
    stored = str(text.get("dtype") or text.get("torch_dtype") or "bfloat16")
    # With auto, vLLM runs float32 checkpoints in 16 bits.
    runs_in = "bfloat16" if settings.dtype == "auto" else settings.dtype
    quantization = config.get("quantization_config") or {}
    weights = weight_bytes(folder)
    if not quantization:
        weights = weights * ITEM_BYTES.get(runs_in, 2) // ITEM_BYTES.get(stored, 2)
    cache_heads, numbers = cached_numbers(text)
    in_fp8 = settings.kv_cache_dtype.startswith("fp8")
    item_bytes = 1 if in_fp8 else ITEM_BYTES.get(runs_in, 2)
    tokens = cached_tokens(text, settings.max_model_len)
    return Need(
        weights, tokens * numbers * item_bytes, has_fp8_weights(quantization), heads, cache_heads
    )


def cached_numbers(text: dict[str, Any]) -> tuple[int, int]:
    """Heads among which the cache can be split, and numbers cached per token and layer."""
    if rank := text.get("kv_lora_rank"):  # one latent vector for all heads (DeepSeek's MLA)
        return 1, rank + (text.get("qk_rope_head_dim") or 0)
    heads = text["num_attention_heads"]
    cache_heads = text.get("num_key_value_heads") or heads
    return cache_heads, 2 * cache_heads * (text.get("head_dim") or text["hidden_size"] // heads)


def cached_tokens(text: dict[str, Any], max_model_len: int) -> int:
    """Tokens of one row that are cached, summed over the layers.

    A sliding-window layer keeps its window, a convolution next to nothing.
    """
    length = min(max_model_len, text.get("max_position_embeddings") or max_model_len)
    window = min(length, text.get("sliding_window") or length)
    attention = text.get("full_attn_idxs") or range(text["num_hidden_layers"])
    kinds = text.get("layer_types") or ["full_attention"] * len(attention)
    kept = {"full_attention": length, "attention": length, "sliding_attention": window}
    return sum(kept.get(kind, 0) for kind in kinds)


def has_fp8_weights(quantization: dict[str, Any]) -> bool:
    """Whether a `quantization_config` speaks of FP8: as `fp8`, or as 8-bit floats of a group."""
    groups = (quantization.get("config_groups") or {}).values()
    weights = [group.get("weights") or {} for group in groups]
    return "fp8" in str(quantization.get("quant_method")) or any(
        group.get("type") == "float" and group.get("num_bits") == 8 for group in weights
    )
