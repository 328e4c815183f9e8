"""Tiny models with random weights in the architectures of the paper, built in a second."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.core.files import read_json, write_json

#: Width of a head: the smallest that vLLM's attention on the CPU supports.
HEAD_WIDTH = 32
#: Standard deviation of the random weights. Larger than the usual 0.02: at this size the model
#: learns twice as fast.
SPREAD = 0.05
CONTEXT_TOKENS = 2048


@dataclass(frozen=True)
class Size:
    """Dimensions of a tiny model."""

    hidden: int
    layers: int
    seed: int

    @property
    def heads(self) -> int:
        """Attention heads, each with keys and values of its own."""
        return self.hidden // HEAD_WIDTH

    @property
    def feed_forward(self) -> int:
        """Width between the two layers of the feed-forward block."""
        return 2 * self.hidden


def build_model(family: str, size: Size, tokenizer: Any, folder: Path) -> None:
    """Write a model with random weights and its tokenizer to `folder`."""
    import torch
    from transformers import AutoModelForCausalLM

    config = CONFIGS[family](size, tokenizer)
    torch.manual_seed(size.seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if family == "lfm2":
        file = folder / "config.json"
        write_json(file, read_json(file) | original_keys(size))


def common_config(size: Size, tokenizer: Any) -> dict[str, Any]:
    """Return what the configs of all families have in common."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": size.hidden,
        "intermediate_size": size.feed_forward,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads,
        "max_position_embeddings": CONTEXT_TOKENS,
        "initializer_range": SPREAD,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": True,
    }


def lfm2(size: Size, tokenizer: Any) -> Any:
    """Configure an LFM2: a short convolution first, attention after."""
    from transformers import Lfm2Config

    return Lfm2Config(
        **common_config(size, tokenizer),
        full_attn_idxs=list(range(1, size.layers)),
        block_auto_adjust_ff_dim=False,
    )


def original_keys(size: Size) -> dict[str, Any]:
    """Return further keys of real LFM2 checkpoints; vLLM reads them, transformers does not."""
    return {
        "block_dim": size.hidden,
        "block_ff_dim": size.feed_forward,
        "block_norm_eps": 1e-5,
        "block_auto_adjust_ff_dim": False,
        "conv_dim": size.hidden,
        "conv_dim_out": size.hidden,
        "num_heads": size.heads,
    }


def cohere2(size: Size, tokenizer: Any) -> Any:
    """Configure a Cohere2, the architecture of the paper's teacher."""
    from transformers import Cohere2Config

    return Cohere2Config(
        **common_config(size, tokenizer),
        logit_scale=1.0,
        sliding_window=512,
        sliding_window_pattern=2,
    )


def qwen2(size: Size, tokenizer: Any) -> Any:
    """Configure a Qwen2, the architecture of the paper's judge."""
    from transformers import Qwen2Config

    return Qwen2Config(**common_config(size, tokenizer))


CONFIGS: dict[str, Callable[[Size, Any], Any]] = {"lfm2": lfm2, "cohere2": cohere2, "qwen2": qwen2}
