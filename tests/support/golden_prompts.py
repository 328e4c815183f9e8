"""What lighteval made of made-up rows, beside what our task files make of the same rows."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from checkout import ROOT

from benchmarks.peers.published_rows import PublishedRows, published_rows
from hala_hpc.engines.evaluation.tasks import leaderboard_prompts as prompts

GOLDEN = ROOT / "tests" / "golden" / "lighteval.json"
COLUMNS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "OALL/AlGhafa-Arabic-LLM-Benchmark-Native": prompts.alghafa_columns,
    "MBZUAI/ArabicMMLU": prompts.arabic_mmlu_columns,
    "OALL/Arabic_EXAMS": prompts.exams_columns,
    "MBZUAI/MadinahQA": prompts.madinah_qa_columns,
    "asas-ai/AraTrust-categorized": prompts.aratrust_columns,
    "MBZUAI/human_translated_arabic_mmlu": prompts.arabic_mmlu_ht_columns,
}


@dataclass(frozen=True)
class GoldenPrompt:
    """A row, and what lighteval asks and scores for it."""

    data_set: str
    config: str
    row: dict[str, Any]
    plain: str
    chat: str
    scored: list[str]
    scored_chat: list[str]
    gold: int
    correct: int


def read_golden() -> dict[str, Any]:
    """The golden file."""
    found: dict[str, Any] = json.loads(GOLDEN.read_text())
    return found


def golden_sources() -> list[PublishedRows]:
    """The made-up rows of every configuration of which the golden file has prompts."""
    subjects: dict[str, list[str]] = {}
    for item in read_golden()["items"]:
        configs = subjects.setdefault(item["data_set"], [])
        if item["config"] not in configs:
            configs.append(item["config"])
    return list(published_rows(subjects))


def golden_prompts() -> Iterator[GoldenPrompt]:
    """Every row with lighteval's prompts."""
    rows = [row for source in golden_sources() for row in source.rows]
    for row, item in zip(rows, read_golden()["items"], strict=True):
        yield GoldenPrompt(row=row, **item)
