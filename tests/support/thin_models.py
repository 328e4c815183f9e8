"""Thin models: the paper's architectures as their makers configure them, too narrow to know a word.

Keys of config.json, ratios of heads to those of keys and values, kinds of layers, windows, caps,
tying and added tokens are those of the published models; widths, depth, window and context are cut
down. The weights are drawn from a seed, the vocabulary is trained here, and the chat templates are
those that TRL ships.
"""

from pathlib import Path
from typing import Any

# Sets what must stand in the environment before anybody imports torch.
import tiny_models  # noqa: F401
from thin_families import FAMILIES
from thin_tokenizers import TRAINED_TOKENS, make_thin_tokenizer

from hala_hpc.core.files import write_json

#: Rows of the table of tokens are a multiple of this, as in models made for GPUs.
ROWS_MULTIPLE = 64
#: Spread of the weights of norms and biases about what they begin with.
VECTOR_SPREAD = 0.1


def make_thin_model(family: str, folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Write a thin model of a family (`lfm2`, `cohere2`, `qwen2` or `gemma2`) to `folder`.

    `changes` are keys of config.json: `torch_dtype="float32"` for weights in float32,
    `num_hidden_layers=2`, or `**LFM2_350M` for the true shape of that model. The weights depend on
    the seed and the shape alone. Returns the folder.
    """
    config = make_thin_config(family, folder, **changes)
    write_weights(folder, seed)
    # Saving wrote it in the words of this transformers, which no maker's file has.
    write_json(folder / "config.json", config)
    ends = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    write_json(folder / "generation_config.json", FAMILIES[family].generation | ends)
    return folder


def make_thin_config(family: str, folder: Path, **changes: Any) -> dict[str, Any]:
    """Write config.json, tokenizer and chat template alone, without torch; what config.json has."""
    wanted = FAMILIES[family]
    ids = make_thin_tokenizer(family, folder)
    tokens = TRAINED_TOKENS + len(wanted.added)
    ends = [ids[word] for word in wanted.ends]
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

    A matrix keeps the size of what it is given, so that every layer tells in the answer.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    # Making the model changes it in the config.
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
