"""An evaluation in the form of Every Eval Ever, version 0.3.0: scores and items of each model.

A file for each model, `data/<collection>/<developer>/<model>/<uuid>.json`, and one with its items
beside it, `<uuid>_samples.jsonl`. The form is that of https://github.com/evaleval/every_eval_ever;
its package is not used, as it asks for an older huggingface_hub than ours. What an evaluation does
not record is said to be unknown there: who made the model, how its weights are available, and the
text of the prompts, of which we have hashes only.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import write_text
from hala_hpc.core.hub import is_hub_id, parse_hub_reference
from hala_hpc.engines.evaluation.item_files import ItemOutcome, read_items_by_model
from hala_hpc.engines.evaluation.report import TRANSLATION
from hala_hpc.engines.evaluation.score_files import (
    SCORES_FILE,
    MergedScores,
    ModelScores,
    score_name,
)
from hala_hpc.engines.evaluation.statistics.intervals import CONFIDENCE
from hala_hpc.engines.publishing.eval_results import count_asked, evaluation_time
from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.safe_text import file_stem
from hala_hpc.engines.reporting.score_rows import LOWER_IS_BETTER, SHARES

SCHEMA_VERSION = "0.3.0"
UNKNOWN_NAME = "unknown"
#: Translation metrics without an upper bound.
UNBOUNDED = frozenset({"ter"})


@dataclass(frozen=True)
class EvaluatedModel:
    """A model of an evaluation, as the format names it."""

    label: str
    developer: str
    name: str
    is_ours: bool
    """Whether a node of the run made it."""

    @property
    def id(self) -> str:
        """`developer/name`."""
        return f"{self.developer}/{self.name}"


@dataclass(frozen=True)
class PublishedEvaluation:
    """An evaluation and its scores."""

    node: NodeFacts
    scores: MergedScores
    datasets: Mapping[str, Sequence[str]]
    """Names on the hub of the data sets of a score, by its key in `scores.json`."""

    @property
    def time(self) -> str:
        """When it was complete, in seconds since 1970."""
        return str(int(evaluation_time(self.node).timestamp()))

    def id_of(self, model: EvaluatedModel) -> str:
        """Id of the evaluation of a model."""
        return f"{file_stem(self.node.name)}/{model.id}/{self.time}"


def write_evaluation(folder: Path, node: NodeFacts) -> list[Path]:
    """Write the files of all models. Raises: UserError (BAD_DATA) without scores."""
    assert node.output is not None
    scores = MergedScores.read(node.output / SCORES_FILE)
    if scores is None or not scores.scores:
        raise UserError(f"node={node.name}: its result has no scores", BAD_DATA)
    found = PublishedEvaluation(node, scores, find_datasets(node))
    items = read_items_by_model(node.output)
    models = node.settings.get("models") or {}
    return [
        path
        for label in scores.scores
        for path in write_model(
            folder, found, name_model(label, str(models.get(label, ""))), items.get(label, [])
        )
    ]


def find_datasets(node: NodeFacts) -> dict[str, list[str]]:
    """The hub data sets that the unit of each score has read."""
    found: dict[str, list[str]] = {}
    assert node.output is not None
    for unit in range(node.summary.units if node.summary else 0):
        scores = ModelScores.read_if_valid(node.output / score_name(unit))
        for key in (*scores.scores, *scores.sums) if scores else ():
            found[key] = sorted(scores.data) if scores else []
    return found


def name_model(label: str, reference: str) -> EvaluatedModel:
    """A model by its reference: a hub id, `@node`, or a folder."""
    if is_hub_id(reference):
        owner, _, name = parse_hub_reference(reference).name.rpartition("/")
        return EvaluatedModel(label, owner or UNKNOWN_NAME, name, False)
    is_ours = reference.startswith("@")
    return EvaluatedModel(label, UNKNOWN_NAME, file_stem(label), is_ours)


def write_model(
    folder: Path, found: PublishedEvaluation, model: EvaluatedModel, items: Sequence[ItemOutcome]
) -> Iterator[Path]:
    """Write the two files of a model; one without items."""
    digest = hashlib.sha256(f"{found.node.summary} {found.id_of(model)}".encode()).digest()
    name = str(UUID(bytes=digest[:16], version=4))
    place = f"data/{file_stem(found.node.name)}/{model.developer}/{model.name}"
    record = make_record(found, model)
    scored = [item for item in items if item.correct is not None and not item.excluded]
    if scored:
        samples = f"{place}/{name}_samples.jsonl"
        lines = [json.dumps(make_sample(found, model, one), ensure_ascii=False) for one in scored]
        text = "\n".join(lines) + "\n"
        write_text(folder / samples, text)
        yield folder / samples
        record["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": samples,
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(text.encode()).hexdigest(),
            "total_rows": len(scored),
        }
    path = folder / place / f"{name}.json"
    write_text(path, json.dumps(record, ensure_ascii=False, indent=2) + "\n")
    yield path


def make_record(found: PublishedEvaluation, model: EvaluatedModel) -> dict[str, Any]:
    """The scores of a model."""
    summary = found.node.summary
    versions = summary.versions if summary else {}
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": found.id_of(model),
        "evaluation_timestamp": found.time,
        "retrieved_timestamp": found.time,
        "source_metadata": {
            "source_name": "hala_hpc",
            "source_type": "evaluation_run",
            "source_organization_name": UNKNOWN_NAME,
            "evaluator_relationship": "first_party" if model.is_ours else "third_party",
        },
        "eval_library": {
            "name": "lm_eval",
            "version": versions.get("lm_eval", UNKNOWN_NAME),
            "additional_details": {"hala_hpc": (summary.commit if summary else "") or UNKNOWN_NAME},
        },
        "model_info": {
            "name": model.label,
            "id": model.id,
            "developer": model.developer,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": UNKNOWN_NAME,
            },
        },
        "evaluation_results": [
            make_result(found, model.label, key) for key in found.scores.scores[model.label]
        ],
    }


def make_result(found: PublishedEvaluation, label: str, key: str) -> dict[str, Any]:
    """One score with its uncertainty."""
    scores = found.scores
    task, _, rest = key.partition("/")
    metric = (task if task in TRANSLATION else rest or task).partition(",")[0]
    samples = count_asked(scores.samples.get(label, {}), key)
    uncertainty: dict[str, Any] = {}
    if (error := scores.errors.get(label, {}).get(key)) is not None:
        uncertainty["standard_error"] = {"value": error}
    if (bounds := scores.intervals.get(label, {}).get(key)) is not None:
        low, high = bounds
        uncertainty["confidence_interval"] = {
            "lower": low,
            "upper": high,
            "confidence_level": CONFIDENCE,
        }
    if samples is not None:
        uncertainty["num_samples"] = samples
    signature = scores.signatures.get(label, {}).get(task)
    return {
        "evaluation_result_id": key,
        "evaluation_name": task,
        "source_data": describe_source(task, found.datasets.get(key, [])),
        "metric_config": describe_metric(metric),
        "score_details": {
            "score": scores.scores[label][key],
            **({"details": {"signature": signature}} if signature else {}),
            **({"uncertainty": uncertainty} if uncertainty else {}),
        },
    }


def describe_source(task: str, datasets: Sequence[str]) -> dict[str, Any]:
    """The data of a score: a data set of the hub if it is one alone, else all that are known."""
    if len(datasets) == 1:
        return {"dataset_name": task, "source_type": "hf_dataset", "hf_repo": datasets[0]}
    details = {"additional_details": {"hf_repos": ", ".join(datasets)}} if datasets else {}
    return {"dataset_name": task, "source_type": "other", **details}


def describe_metric(metric: str) -> dict[str, Any]:
    """Direction and range of a metric; the range only if it is known."""
    known: dict[str, Any] = {"metric_id": metric, "lower_is_better": metric in LOWER_IS_BETTER}
    if metric in SHARES:
        return {**known, "score_type": "continuous", "min_score": 0, "max_score": 1}
    if metric in TRANSLATION:
        top: Any = "Infinity" if metric in UNBOUNDED else 100
        return {**known, "score_type": "continuous", "min_score": 0, "max_score": top}
    return known


def make_sample(
    found: PublishedEvaluation, model: EvaluatedModel, item: ItemOutcome
) -> dict[str, Any]:
    """One item: what was answered, and what that is worth."""
    score = item.correct or 0.0
    how = "highest log-probability of the choices" if item.log_probabilities else item.metric
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": found.id_of(model),
        "model_id": model.id,
        "evaluation_name": item.task,
        "sample_id": f"{item.task}/{item.item}",
        "interaction_type": "single_turn",
        # Items have hashes of document and prompt only, in the metadata.
        "input": {"raw": "", "reference": [item.target]},
        "output": {"raw": [item.answer]},
        "messages": None,
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": item.answer,
                "extraction_method": how or UNKNOWN_NAME,
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": score, "is_correct": score >= 1.0},
        "metadata": {
            "doc_hash": item.doc_hash,
            "prompt_hash": item.prompt_hash,
            "target_hash": item.target_hash,
        },
    }
