"""Checkpoints of random weights, made once for all parts, and their tokenizer."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu.scale import Place
from hala_hpc.demo.tokenizer import train_tokenizer

#: Texts for the tokenizer: it has letters and the tokens of the chat template, and only its padding
#: id is used.
TEXTS = ("a word and another word",) * 2
VOCABULARY_SIZE = 300


def lfm2(place: Place, seed: int = 0) -> Path:
    """Make a checkpoint of LFM2's shape in bfloat16."""
    return checkpoint(place, place.scale.shape(), f"lfm2-{seed}", seed)


def attention_alone(place: Place) -> Path:
    """Make a checkpoint of the same widths in which all layers have attention."""
    return checkpoint(place, place.scale.attention_shape(), "attention-alone", 0)


def checkpoint(place: Place, shape: dict[str, Any], name: str, seed: int) -> Path:
    """Make a checkpoint of random weights; it is complete, or absent if its maker is killed."""
    folder = place.work / name
    if folder.is_dir():
        return folder
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    tokenizer = made_tokenizer()
    ids = {key: getattr(tokenizer, key) for key in ("pad_token_id", "bos_token_id", "eos_token_id")}
    options = {key: value for key, value in shape.items() if key != "model_type"}
    config = AutoConfig.for_model(shape["model_type"], **options, **ids)
    # On the GPU a billion random numbers take no time.
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    making = Path(tempfile.mkdtemp(dir=place.work))
    try:
        model.save_pretrained(making)
        tokenizer.save_pretrained(making)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    del model
    torch.cuda.empty_cache()
    return folder


def made_tokenizer() -> Any:
    """A tokenizer of a few hundred words."""
    return train_tokenizer(TEXTS, VOCABULARY_SIZE, "lfm2")
