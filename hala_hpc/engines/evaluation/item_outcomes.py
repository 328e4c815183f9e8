"""What lm-eval returns of each item, as outcomes: scores, answers, log-probabilities, hashes."""

import json
import math
from collections.abc import Iterator, Mapping
from hashlib import sha256
from numbers import Real
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.evaluation.item_files import ItemOutcome
from hala_hpc.engines.evaluation.task_shards import first_documents

#: Fields of documents with a text that several questions may be about: Belebele, BoolQ and RACE,
#: and the contexts of ArabicMMLU and MadinahQA. Other tasks name theirs as `metadata.cluster`.
PASSAGE_FIELDS = ("flores_passage", "passage", "article", "context", "Context")
CLUSTER_DIGITS = 16


def find_cluster(task: Any, doc: Mapping[str, Any]) -> str:
    """Hash of the passage or subject of an item, equal for those that share it; empty for none."""
    settings = getattr(getattr(task, "config", None), "metadata", None) or {}
    named = settings.get("cluster")
    for name in PASSAGE_FIELDS if named is None else (named,):
        text = doc.get(name)
        if isinstance(text, str | int) and str(text).strip():
            return sha256(str(text).encode()).hexdigest()[:CLUSTER_DIGITS]
    return ""


def exclude_item(task: str, found: Any, item: int, reason: str) -> ItemOutcome:
    """The outcome of an item that is not scored."""
    from lm_eval.utils import handle_non_serializable, hash_string

    doc = next(one for number, one in first_documents(found, item + 1) if number == item)
    text = json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
    target = str(found.doc_to_target(doc))
    return ItemOutcome(
        task,
        item,
        doc_hash=hash_string(text),
        prompt_hash="",
        target_hash=hash_string(target),
        target=target,
        excluded=reason,
    )


def read_outcomes(name: str, task: Any, results: Mapping[str, Any]) -> Iterator[ItemOutcome]:
    """The outcome of each item of a task from lm-eval's samples: one per item and filter.

    Raises: UserError (BAD_DATA) for a score that is not finite.
    """
    by_item: dict[int, list[dict[str, Any]]] = {}
    for sample in results["samples"][name]:
        by_item.setdefault(sample["doc_id"], []).append(sample)
    for item, samples in by_item.items():
        scores = {key: value for one in samples for key, value in read_sample_scores(one)}
        if bad := [key for key, value in scores.items() if not math.isfinite(value)]:
            raise UserError(
                f"tasks: {name}: {', '.join(bad)} of item {item} is NaN or infinite; look at the "
                "item, or set engine.dtype=float32",
                BAD_DATA,
            )
        first = samples[0]
        metric = next(iter(scores), "")
        yield ItemOutcome(
            name,
            item,
            doc_hash=first["doc_hash"],
            prompt_hash=first["prompt_hash"],
            target_hash=first["target_hash"],
            target=str(first["target"]),
            answer=describe_answer(task, first),
            metric=metric,
            correct=scores.get(metric),
            scores=scores,
            log_probabilities=read_log_probabilities(first),
            cluster=find_cluster(task, first["doc"]),
        )


def read_sample_scores(sample: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Metrics of a sample whose values are numbers, with the name of its filter."""
    for metric in sample["metrics"]:
        value = sample[metric]
        if isinstance(value, Real):
            yield name_metric(metric, sample["filter"]), float(value)


def name_metric(metric: str, filter_: str) -> str:
    """Name of a metric of filtered answers: `acc`, or `exact_match@strict`."""
    return metric if filter_ == "none" else f"{metric}@{filter_}"


def read_log_probabilities(sample: Mapping[str, Any]) -> list[float]:
    """Log-probability of each continuation of a sample; empty for generated answers."""
    first = [responses[0] for responses in sample["resps"]]
    return [float(one[0]) for one in first if isinstance(one, tuple | list)]


def describe_answer(task: Any, sample: Mapping[str, Any]) -> str:
    """The answer to an item: the most probable choice, or the generated text."""
    values = read_log_probabilities(sample)
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = task.doc_to_choice(sample["doc"])
        best = max(range(len(choices)), key=values.__getitem__)
        return str(choices[best])
    return "" if values else str(sample["filtered_resps"][0])
