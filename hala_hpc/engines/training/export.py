"""What a training leaves: the model folder, and the figures beside it."""

import shutil
from pathlib import Path
from typing import Any

from hala_hpc.core.stage import Out
from hala_hpc.engines.models.files import carry_config, copy_tokenizer
from hala_hpc.engines.training.lora import merged
from hala_hpc.engines.training.metrics import METRICS
from hala_hpc.engines.training.training_run import Training


def save_model(trainer: Any, training: Training, out: Out) -> None:
    """Write weights, config, tokenizer and chat template; every rank must call it."""
    import torch

    folder = out.folder(0)
    # Under ZeRO-3 the ranks send their parts of the weights here.
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if out.rank != 0:
        return
    weights = merged(weights, training.settings)
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    if training.settings.lora_rank:
        model = model.get_base_model()
    tied = set(model._tied_weights_keys or ()) if model.config.tie_word_embeddings else set()
    dtype = getattr(torch, training.dtype)
    kept = {name: tensor.to(dtype) for name, tensor in weights.items() if name not in tied}
    model.config.dtype = dtype
    model.save_pretrained(folder, state_dict=kept)
    carry_config(training.model, folder)
    copy_tokenizer(training.model, folder)
    # The template that was learnt may have been supplied to a model that had none.
    copy_tokenizer(training.tokenizer, folder)
    write_generation_config(model, folder)
    shutil.copytree(training.kept / METRICS, folder / METRICS, dirs_exist_ok=True)


def write_generation_config(model: Any, folder: Path) -> None:
    """How the model is asked, where the one it was made of does not say it."""
    if not (folder / "generation_config.json").is_file():
        model.generation_config.save_pretrained(folder)
