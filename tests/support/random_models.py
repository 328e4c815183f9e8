"""Tiny models with random weights in the architectures of the real ones, made in a second."""

import json
from pathlib import Path

from tiny_models import make_tokenizer

#: Keys of real LFM2 checkpoints that vLLM reads and transformers does not write.
LFM2_KEYS = {
    "block_dim": 64,
    "block_ff_dim": 128,
    "block_norm_eps": 1e-5,
    "conv_dim": 64,
    "conv_dim_out": 64,
    "num_heads": 2,
}


def random_lfm2(folder: Path, seed: int = 0, dtype: str = "float32", layers: int = 3) -> Path:
    """Make an LFM2 of a few layers, one of them attention, with the keys of a real config."""
    from transformers import AutoTokenizer, Lfm2Config, Lfm2ForCausalLM

    make_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = Lfm2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        # Heads of 32: vLLM's attention on the CPU has no smaller ones.
        num_attention_heads=2,
        num_key_value_heads=1,
        full_attn_idxs=[1],
        block_auto_adjust_ff_dim=False,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    save(Lfm2ForCausalLM, config, folder, seed, dtype)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | LFM2_KEYS))
    return folder


def random_cohere2(folder: Path, seed: int = 0, dtype: str = "float32", layers: int = 2) -> Path:
    """Make a Cohere2 of a few layers, half with a sliding window: the teacher's architecture."""
    from transformers import AutoTokenizer, Cohere2Config, Cohere2ForCausalLM

    make_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = Cohere2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        # Heads of 32: vLLM's attention on the CPU has no smaller ones.
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        sliding_window=128,
        layer_types=["sliding_attention", "full_attention"] * (layers // 2),
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    save(Cohere2ForCausalLM, config, folder, seed, dtype)
    return folder


def save(kind, config, folder: Path, seed: int, dtype: str) -> None:  # type: ignore[no-untyped-def]
    """Write a model with weights that depend only on the seed."""
    import torch

    torch.manual_seed(seed)
    kind(config).to(getattr(torch, dtype)).save_pretrained(folder)
