"""Thin models with attention logits so large that a logit cap changes their output."""

import json
import shutil
from pathlib import Path

from thin_models import make_thin_model

#: Factor of the queries: logits of about 50 to 200; the cap of Gemma 2 is 50.
SHARPNESS = 60.0


def capped_model(folder: Path) -> Path:
    """Make a Gemma 2 of two layers in float32, one with a sliding window."""
    from safetensors.torch import load_file, save_file

    make_thin_model("gemma2", folder, torch_dtype="float32", num_hidden_layers=2)
    file = folder / "model.safetensors"
    weights = load_file(file)
    for name, weight in weights.items():
        if "q_proj" in name:
            weight.mul_(SHARPNESS)
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def without_cap(model: Path, folder: Path) -> Path:
    """Copy the model with a config that has no attention logit cap."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attn_logit_softcapping": None}))
    return folder
