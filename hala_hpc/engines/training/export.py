"""Write the result of a training: the model folder with its model card."""

import json
import shutil
from pathlib import Path
from typing import Any

from hala_hpc.core.stage import UnitContext
from hala_hpc.core.versions import loaded_versions
from hala_hpc.engines.models.card_data import (
    CARD_FILE,
    derive_card_data,
    model_title,
    write_derived_card,
)
from hala_hpc.engines.models.files import link_model
from hala_hpc.engines.publishing.job_license import state_license
from hala_hpc.engines.training.checkpoints import SNAPSHOTS
from hala_hpc.engines.training.figures import TrainingFigures
from hala_hpc.engines.training.metrics import METRICS
from hala_hpc.engines.training.snapshots import make_empty_folder, save_weights
from hala_hpc.engines.training.training_run import Training


def save_model(trainer: Any, training: Training, out: UnitContext) -> None:
    """Write weights, config, tokenizer and chat template; every rank must call it."""
    folder = out.folder(0)
    save_weights(trainer, training, folder)
    if out.rank != 0:
        return
    shutil.copytree(training.state_dir / METRICS, folder / METRICS, dirs_exist_ok=True)
    for snapshot in sorted((training.state_dir / SNAPSHOTS).glob("*")):
        link_model(snapshot, make_empty_folder(folder / snapshot.name))


def write_card(folder: Path, training: Training, figures: TrainingFigures) -> None:
    """Write the model card. Its signature (settings, versions) allows to reproduce the model."""
    base = base_name(training)
    lines = [
        f"# {model_title(base)}, fine-tuned",
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
    data = derive_card_data([base], training.model / CARD_FILE, "sft")
    write_derived_card(folder, data, [*lines, *state_license(data, folder)])


def base_name(training: Training) -> str:
    """Return the base model as the settings name it."""
    return str(training.settings.model_dump().get("model", training.model))


def simple_figures(figures: TrainingFigures) -> list[tuple[str, object]]:
    """Return the figures that fit into a table."""
    values = figures.to_values().items()
    return [(name, value) for name, value in values if not isinstance(value, list | dict)]


def signature(training: Training) -> dict[str, Any]:
    """Return the settings that change the result, and the versions of the libraries."""
    return {"settings": training.settings.result_half(), "versions": loaded_versions()}
