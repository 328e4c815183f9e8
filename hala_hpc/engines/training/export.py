"""Write the result of a training: the model folder with its model card."""

import json
import shutil
from pathlib import Path
from typing import Any

from hala_hpc.core.files import read_json, write_json
from hala_hpc.core.hub import is_hub_id, parse_hub_reference
from hala_hpc.core.stage import UnitContext
from hala_hpc.core.versions import loaded_versions
from hala_hpc.engines.generation.prompts import Prompter
from hala_hpc.engines.models.card_data import CARD_FILE, read_card_data
from hala_hpc.engines.models.files import carry_config, copy_tokenizer
from hala_hpc.engines.training.figures import TrainingFigures
from hala_hpc.engines.training.lora import merge_lora_weights
from hala_hpc.engines.training.metrics import METRICS
from hala_hpc.engines.training.training_run import Training


def save_model(trainer: Any, training: Training, out: UnitContext) -> None:
    """Write weights, config, tokenizer and chat template. Collective."""
    import torch

    folder = out.folder(0)
    # With ZeRO-3 the ranks send their shards of the weights here.
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if out.rank != 0:
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
    # The chat template of the training may have been supplied to a model that had none.
    copy_tokenizer(training.tokenizer, folder)
    write_generation_config(model, folder)
    add_stop_tokens(training.tokenizer, folder)
    shutil.copytree(training.state_dir / METRICS, folder / METRICS, dirs_exist_ok=True)


def write_generation_config(model: Any, folder: Path) -> None:
    """Write generation_config.json if the base model has none."""
    if not (folder / "generation_config.json").is_file():
        model.generation_config.save_pretrained(folder)


def add_stop_tokens(tokenizer: Path, folder: Path) -> None:
    """Add the token that ends a turn of the chat template to `eos_token_id`.

    The trained model ends its answers with that token, and an engine stops at the tokens of
    generation_config.json. In the files of Gemma that may be the end-of-text token only.
    """
    from transformers import AutoTokenizer

    path = folder / "generation_config.json"
    config: dict[str, Any] = read_json(path)
    known = config.get("eos_token_id")
    stops = known if isinstance(known, list) else [] if known is None else [known]
    ends = Prompter(AutoTokenizer.from_pretrained(tokenizer)).stop_token_ids
    if missing := [end for end in ends if end not in stops]:
        write_json(path, config | {"eos_token_id": [*stops, *missing]})


def write_card(folder: Path, training: Training, figures: TrainingFigures) -> None:
    """Write the model card. Its signature (settings, versions) allows to reproduce the model."""
    from huggingface_hub import ModelCard

    base = base_name(training)
    lines = [
        f"# {base if is_hub_id(base) else Path(base).name.removeprefix('@')}, fine-tuned",
        "",
        f"Fine-tuned from `{base}` with hala_hpc.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name.replace('_', ' ')} | {value} |" for name, value in simple_figures(figures)),
        "",
        "## Signature",
        "",
        "```json",
        json.dumps(signature(training), indent=1, ensure_ascii=False, sort_keys=True),
        "```",
        "",
    ]
    header = card_data(base, training.model / CARD_FILE).to_yaml()
    ModelCard("\n".join(["---", header, "---", *lines])).save(folder / CARD_FILE)


def base_name(training: Training) -> str:
    """Return the base model as the settings name it."""
    return str(training.settings.model_dump().get("model", training.model))


def card_data(base: str, base_card: Path) -> Any:
    """Return the card's metadata, a `ModelCardData`, with license and languages of the base.

    `base_model` is a hub id: the base, or if that is a folder or a node, the base model that its
    own card names. It is left out if unknown.
    """
    from huggingface_hub import ModelCardData

    stated = read_card_data(base_card)
    return ModelCardData(
        base_model=parse_hub_reference(base).name if is_hub_id(base) else stated.get("base_model"),
        language=stated.get("language"),
        library_name="transformers",
        license=stated.get("license"),
        license_name=stated.get("license_name"),
        license_link=stated.get("license_link"),
        pipeline_tag="text-generation",
        tags=["sft", "hala_hpc"],
    )


def simple_figures(figures: TrainingFigures) -> list[tuple[str, object]]:
    """Return the figures that fit into a table."""
    values = figures.to_values().items()
    return [(name, value) for name, value in values if not isinstance(value, list | dict)]


def signature(training: Training) -> dict[str, Any]:
    """Return the settings that change the result, and the versions of the libraries."""
    return {"settings": training.settings.result_half(), "versions": loaded_versions()}
