"""Thin models whose attention is so sharp that a cap of its logits changes what they say."""

import json
import shutil
from pathlib import Path

from thin_models import make_thin_model

#: Factor of the queries: logits of some 50 to 200, where the cap of Gemma 2 is 50.
SHARPNESS = 60.0


def capped_model(folder: Path) -> Path:
    """A Gemma 2 of two layers in float32, one with a window."""
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
    """The same model with a config that names no cap of its attention."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attn_logit_softcapping": None}))
    return folder
