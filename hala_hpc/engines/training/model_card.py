"""README.md of a trained model: what it was made of, how, and what came of it."""

import json
from pathlib import Path
from typing import Any

from hala_hpc.core.versions import versions
from hala_hpc.engines.training.figures import TrainingFigures
from hala_hpc.engines.training.training_run import Training

CARD_FILE = "README.md"


def write_card(folder: Path, training: Training, figures: TrainingFigures) -> None:
    """Write the card. The signature in it (settings, versions) tells how to make it again."""
    base = training.settings.model_dump().get("model", str(training.model))
    header = json.dumps(base if not Path(base).exists() else Path(base).name, ensure_ascii=False)
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        *([] if base.startswith("@") else [f"base_model: {header}"]),
        "tags: [sft, hala_hpc]",
        "---",
        f"# {training.model.name}, fine-tuned",
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
    (folder / CARD_FILE).write_text("\n".join(lines), encoding="utf-8")


def simple_figures(figures: TrainingFigures) -> list[tuple[str, object]]:
    """Those figures that fit into a table."""
    values = figures.to_values().items()
    return [(name, value) for name, value in values if not isinstance(value, list | dict)]


def signature(training: Training) -> dict[str, Any]:
    """Settings that change the result, and versions of what trained it."""
    return {"settings": training.settings.result_half(), "versions": versions()}
