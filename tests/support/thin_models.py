"""Thin models: the paper's architectures as published, but much narrower, with random weights.

Keys of config.json, ratios of heads to KV heads, kinds of layers, windows, logit caps, tying and
added tokens are those of the published models; widths, depth, window and context are reduced. The
weights are drawn from a seed, the vocabulary is trained here, and the chat templates are TRL's.
"""

from pathlib import Path
from typing import Any

# Sets environment variables that must be set before torch is imported.
import tiny_models  # noqa: F401
from thin_families import FAMILIES
from thin_tokenizers import TRAINED_TOKENS, make_thin_tokenizer

from hala_hpc.core.files import write_json

#: The vocabulary size is padded to a multiple of this, as in models for GPUs.
ROWS_MULTIPLE = 64
#: Standard deviation of the noise added to the initial norm weights and biases.
VECTOR_SPREAD = 0.1


def make_thin_model(family: str, folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Write a thin model of a family (`lfm2`, `cohere2`, `qwen2` or `gemma2`) to `folder`.

    `changes` are keys of config.json: `torch_dtype="float32"` for weights in float32,
    `num_hidden_layers=2`, or `**LFM2_350M` for the true shape of that model. The weights depend on
    the seed and the shape alone. Returns the folder.
    """
    config = make_thin_config(family, folder, **changes)
    write_weights(folder, seed)
    # Saving rewrote it in the form of the installed transformers, unlike published files.
    write_json(folder / "config.json", config)
    ends = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    write_json(folder / "generation_config.json", FAMILIES[family].generation | ends)
    return folder


def make_thin_config(family: str, folder: Path, **changes: Any) -> dict[str, Any]:
    """Write config.json, tokenizer and chat template without torch; return the config."""
    wanted = FAMILIES[family]
    ids = make_thin_tokenizer(family, folder)
    tokens = TRAINED_TOKENS + len(wanted.added)
    ends = [ids[token] for token in wanted.ends]
    named = {
        "bos_token_id": ids[wanted.named.get("bos_token", wanted.ends[-1])],
        "eos_token_id": ends[0] if len(ends) == 1 else ends,
        "pad_token_id": ids[wanted.named["pad_token"]],
        "vocab_size": -(-tokens // ROWS_MULTIPLE) * ROWS_MULTIPLE,
    }
    config = wanted.config | named | changes
    write_json(folder / "config.json", config)
    return config


def write_weights(folder: Path, seed: int) -> None:
    """Draw all weights of the model that config.json describes, and save them.

    A matrix preserves the magnitude of its input, so that every layer affects the output.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    # Creating the model changes it in the config.
    dtype = config.dtype
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, weight[0].numel() ** -0.5, generator=draw)
            else:
                weight.add_(torch.randn(weight.shape, generator=draw), alpha=VECTOR_SPREAD)
    model.to(dtype).save_pretrained(folder)
