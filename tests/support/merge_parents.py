"""Tuned models for merges: copies of a base with small changes in every weight."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Change of a weight beside its own size, as a training leaves it.
CHANGE = 0.05


def tuned_copy(base: Path, folder: Path, seed: int, change: float = CHANGE) -> Path:
    """A copy of a model whose every weight is a little another."""
    import torch

    generator = torch.Generator().manual_seed(seed)

    def add_noise(_name: str, tensor: Any) -> Any:
        noise = torch.randn(tensor.shape, generator=generator)
        return (tensor.float() + change * tensor.float().std(correction=0).clamp(0.1) * noise).to(
            tensor.dtype
        )

    return changed_copy(base, folder, add_noise)


def changed_copy(base: Path, folder: Path, change: Callable[[str, Any], Any]) -> Path:
    """A copy of a model with other weights, by name and tensor."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder)
    file = folder / "model.safetensors"
    weights = {name: change(name, tensor) for name, tensor in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    return folder
