"""The model that is trained, written as a folder that transformers and vLLM load."""

import shutil
from pathlib import Path
from typing import Any

from hala_hpc.core.files import read_json, write_json
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.generation.prompts import Prompter
from hala_hpc.engines.models.files import carry_config, copy_tokenizer
from hala_hpc.engines.training.checkpoints import SNAPSHOTS, staging_folder
from hala_hpc.engines.training.lora import merge_lora_weights
from hala_hpc.engines.training.training_run import Training


def save_snapshot(trainer: Any, training: Training, out: UnitContext, name: str) -> None:
    """Write the model as it is now to the folder of the training, whole or not at all.

    Every rank must call it. One of an earlier attempt, which came to the same step, is replaced.
    """
    staged = staging_folder(training.state_dir, out.attempt) / name
    place = training.state_dir / SNAPSHOTS / name
    if out.rank == 0:
        make_empty_folder(staged)
    save_weights(trainer, training, staged)
    if out.rank != 0:
        return
    out.check_lease()
    place.parent.mkdir(exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    staged.replace(place)


def make_empty_folder(folder: Path) -> Path:
    """The folder, empty where there was one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def save_weights(trainer: Any, training: Training, folder: Path) -> None:
    """Write the model that is trained to a folder, from rank 0; every rank must call it."""
    import torch

    # Under ZeRO-3 the ranks send their parts of the weights here.
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.accelerator.process_index != 0:
        return
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    if training.settings.lora_rank:
        weights = merge_lora_weights(weights, model)
        model = model.get_base_model()
    tied = set(model._tied_weights_keys or ()) if model.config.tie_word_embeddings else set()
    dtype = getattr(torch, training.dtype)
    state_dict = {name: tensor.to(dtype) for name, tensor in weights.items() if name not in tied}
    model.config.dtype = dtype
    model.save_pretrained(folder, state_dict=state_dict)
    carry_config(training.model, folder)
    copy_tokenizer(training.model, folder)
    # The template that was learnt may have been supplied to a model that had none.
    copy_tokenizer(training.tokenizer, folder)
    write_generation_config(model, folder)
    add_stop_tokens(training.tokenizer, folder)


def write_generation_config(model: Any, folder: Path) -> None:
    """How the model is asked, where the one it was made of does not say it."""
    if not (folder / "generation_config.json").is_file():
        model.generation_config.save_pretrained(folder)


def add_stop_tokens(tokenizer: Path, folder: Path) -> None:
    """Name the token that ends a turn of the chat template as one at which to stop.

    What was learnt ends its answers with it, and what serves the model stops where
    generation_config.json says: for Gemma's makers that may be the end of a text alone.
    """
    from transformers import AutoTokenizer

    path = folder / "generation_config.json"
    config: dict[str, Any] = read_json(path)
    known = config.get("eos_token_id")
    stops = known if isinstance(known, list) else [] if known is None else [known]
    ends = Prompter(AutoTokenizer.from_pretrained(tokenizer)).stop_token_ids
    if missing := [end for end in ends if end not in stops]:
        write_json(path, config | {"eos_token_id": [*stops, *missing]})
