"""Make the card of a model or a corpus in the hub's format, from the records of its run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hala_hpc.engines.publishing.card_text import (
    describe_data,
    describe_hours,
    describe_limits,
    describe_lineage,
    describe_settings,
    describe_sizes,
    describe_versions,
    list_scores,
)
from hala_hpc.engines.publishing.licenses import DerivedLicense
from hala_hpc.engines.publishing.lineage import DATASETS, MODELS, Lineage
from hala_hpc.engines.reporting.score_rows import ScoreTable

#: What a stage does to its base model, as the hub names it.
RELATIONS = {"sft": "finetune", "merge": "merge", "quantize": "quantized"}
#: Setting with the base model, by stage.
BASE_SETTINGS = {"sft": "model", "merge": "base", "quantize": "model"}
#: Upper bounds of rows and the hub's names of sizes.
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)
LARGEST = "100M<n<1B"


@dataclass(frozen=True)
class CardRequest:
    """What a card is about."""

    name: str
    """Name on the hub, or that of the node."""
    lineage: Lineage
    license: DerivedLicense
    tables: Sequence[ScoreTable] = ()
    """Evaluations of the result."""
    languages: Sequence[str] = ()
    energy_kwh: Mapping[str, float] = field(default_factory=dict)
    """Energy of nodes by their folder, as far as it was measured."""


def make_model_card(request: CardRequest) -> Any:
    """The card of a model, a `ModelCard`."""
    from huggingface_hub import ModelCard, ModelCardData

    lineage, stage = request.lineage, request.lineage.result.stage
    bases = base_models(lineage)
    data = ModelCardData(
        base_model=bases or None,
        base_model_relation=RELATIONS.get(stage) if bases else None,
        datasets=lineage.names(DATASETS) or None,
        language=list(request.languages) or None,
        library_name="transformers",
        license=request.license.name,
        license_name=request.license.license_name,
        pipeline_tag="text-generation",
        tags=sorted({stage, "hala_hpc"}),
    )
    return ModelCard.from_template(
        data,
        template_str=read_card_template("model_card.md.j2"),
        summary=f"Result of the step `{lineage.result.name}` ({stage}) of a run of hala_hpc.",
        details=f"- Base models: {', '.join(bases) or 'no model of the hub'}",
        sizes=describe_sizes(lineage),
        scores=list_scores(request.tables),
        hours=describe_hours(lineage, request.energy_kwh),
        **common_parts(request),
    )


def make_data_card(request: CardRequest) -> Any:
    """The card of a corpus, a `DatasetCard`."""
    from huggingface_hub import DatasetCard, DatasetCardData

    lineage, result = request.lineage, request.lineage.result
    rows = result.summary.rows_out if result.summary else 0
    machines = lineage.names(MODELS)
    is_machine_made = any(node.stage in ("translate", "filter") for node in lineage.nodes)
    data = DatasetCardData(
        language=list(request.languages) or None,
        license=request.license.name,
        license_name=request.license.license_name,
        annotations_creators=["machine-generated"] if is_machine_made else None,
        pretty_name=request.name.rpartition("/")[2],
        size_categories=[size_category(rows)],
        source_datasets=lineage.names(DATASETS) or ["original"],
        task_categories=["text-generation", "translation"],
        tags=["hala_hpc"],
        configs=[
            {"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}
        ],
    )
    return DatasetCard.from_template(
        data,
        template_str=read_card_template("data_card.md.j2"),
        summary=f"Rows of the step `{result.name}` ({result.stage}) of a run of hala_hpc.",
        details=f"- Rows: {rows:,}",
        structure="Parquet files in `data`, one row each with `id`, `origin`, and the texts.",
        annotations=(
            f"Made or judged by models: {', '.join(machines) or 'those of the run'}; no person "
            "has read all of it."
            if is_machine_made
            else "None."
        ),
        **common_parts(request),
    )


def common_parts(request: CardRequest) -> Mapping[str, str]:
    """The parts that both kinds of cards have."""
    return {
        "title": request.name.rpartition("/")[2],
        "name": request.name,
        "lineage": describe_lineage(request.lineage),
        "license": " ".join(request.license.sentences()),
        "data": describe_data(request.lineage),
        "hyperparameters": describe_settings(request.lineage),
        "limits": describe_limits(request.tables),
        "versions": describe_versions(request.lineage),
    }


def base_models(lineage: Lineage) -> list[str]:
    """Ids of the models that the weights come from: of the result's base, and of its base's."""
    nodes = {node.name: node for node in lineage.nodes}
    models = lineage.names(MODELS)
    found: list[str] = []
    pending = [lineage.result]
    while pending:
        node = pending.pop()
        for setting in ("base", "model"):
            values = node.settings.get(setting) if node.stage in BASE_SETTINGS else None
            for value in values if isinstance(values, list) else [values]:
                name = str(value or "").removeprefix("@").partition("/")[0]
                reference = str(value or "").partition("@")[0]
                if str(value).startswith("@") and name in nodes:
                    pending.append(nodes[name])
                elif reference in models and reference not in found:
                    found.append(reference)
    return found


def size_category(rows: int) -> str:
    """The hub's name of a number of rows."""
    return next((name for bound, name in SIZES if rows < bound), LARGEST)


def read_card_template(name: str) -> str:
    """Text of a template of this folder."""
    from pathlib import Path

    return Path(__file__).with_name(name).read_text(encoding="utf-8")
