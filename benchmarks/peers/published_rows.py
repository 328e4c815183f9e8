"""Made-up rows in the published shape of the Arabic leaderboard's data sets.

Columns and their types are those of the data sets; texts are ours. Each configuration has a row;
some have those on which a prompt may go wrong: no context, an empty option, five options, blanks
around a question.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

ALGHAFA_CHOICES = {
    "meta_ar_dialects": 4,
    "meta_ar_msa": 4,
    "multiple_choice_facts_truefalse_balanced_task": 2,
    "multiple_choice_grounded_statement_soqal_task": 5,
    "multiple_choice_grounded_statement_xglue_mlqa_task": 5,
    "multiple_choice_rating_sentiment_no_neutral_task": 2,
    "multiple_choice_rating_sentiment_task": 3,
    "multiple_choice_sentiment_task": 3,
}
ARATRUST = (
    "Trustfulness",
    "MentalHealth",
    "PhysicalHealth",
    "Offensive",
    "Ethics",
    "Privacy",
    "Unfairness",
    "Illegal",
)


@dataclass(frozen=True)
class PublishedRows:
    """Rows of one configuration of a data set."""

    data_set: str
    config: str
    split: str
    rows: list[dict[str, Any]] = field(default_factory=list)


def published_rows(subjects: dict[str, list[str]]) -> Iterator[PublishedRows]:
    """Rows for the six benchmarks.

    `subjects`: configurations of the data sets with many, as the task files name them.
    """
    data_set = "OALL/AlGhafa-Arabic-LLM-Benchmark-Native"
    for config, count in ALGHAFA_CHOICES.items():
        yield PublishedRows(
            data_set, config, "test", [alghafa_row(config, count, n) for n in (0, 1)]
        )
    data_set = "MBZUAI/ArabicMMLU"
    for config in subjects[data_set]:
        yield PublishedRows(data_set, config, "test", list(options_rows(config)))
    yield PublishedRows("OALL/Arabic_EXAMS", "default", "test", [exams_row(n) for n in range(5)])
    data_set = "MBZUAI/MadinahQA"
    for config in ("Arabic Language (General)", "Arabic Language (Grammar)"):
        yield PublishedRows(data_set, config, "test", list(options_rows(config)))
    data_set = "asas-ai/AraTrust-categorized"
    for config in ARATRUST:
        yield PublishedRows(data_set, config, "train", [aratrust_row(config, n) for n in (0, 1)])
    data_set = "MBZUAI/human_translated_arabic_mmlu"
    for config in subjects[data_set]:
        yield PublishedRows(data_set, config, "test", [translated_row(config)])


def alghafa_row(config: str, count: int, number: int) -> dict[str, Any]:
    """A row of AlGhafa; the second has blanks around its question."""
    question = f"ما العدد {number} في {config}؟"
    row: dict[str, Any] = {"query": f" {question}\n" if number else question}
    row |= {f"sol{n}": f"الجواب {n}" for n in range(1, count + 1)}
    return row | {"label": str((number + count) % count)}


def options_rows(config: str) -> Iterator[dict[str, Any]]:
    """Rows of ArabicMMLU and MadinahQA: two options, and for some subjects four and five."""
    yield options_row(config, ["نعم", "لا"], "B", context="سياق قصير.")
    if config.startswith("Arabic Language"):
        yield options_row(config, ["أول", "ثان", "ثالث", "رابع", "خامس"], "E", context=None)
        # The second option is missing: letters stay those of the options.
        yield options_row(config, ["أول", None, "ثالث", "رابع"], "C", context="")


def options_row(
    config: str, options: list[str | None], key: str, context: str | None
) -> dict[str, Any]:
    """A row with the columns of ArabicMMLU; options that are not given are empty."""
    row = {
        "Subject": config,
        "Question": f"سؤال في {config}: كم {len(options)}؟ ",
        "Context": context,
    }
    all_options = [*options, *[None] * 5][:5]
    row |= {f"Option {n}": option for n, option in enumerate(all_options, 1)}
    return row | {"Answer Key": key}


def exams_row(number: int) -> dict[str, Any]:
    """A row of EXAMS; its subject has an underscore."""
    letters = {letter: f"جواب {letter}{number}" for letter in "ABCD"}
    row = {"id": str(number), "subject": "Islamic_Studies", "question": f"السؤال رقم {number}؟"}
    return row | letters | {"answer": "ABCD"[number % 4]}


def aratrust_row(config: str, number: int) -> dict[str, Any]:
    """A row of AraTrust: its choices begin with their letters."""
    row = {"Category": config, "Question": f"ماذا تفعل {number} في {config}؟"}
    row |= {"A": "أ) أسأل", "B": "ب) أنتظر", "C": "ج) أرفض"}
    return row | {"Answer": "أبج"[(number + len(config)) % 3]}


def translated_row(config: str) -> dict[str, Any]:
    """A row of MMLU translated by people: the index of the answer is a number."""
    choices = [f"{config} {n}" for n in range(4)]
    row = {"question": f"سؤال مترجم في {config}", "subject": config, "choices": choices}
    return row | {"answer": len(config) % 4}


def made_up_log_probability(question: str, label: str) -> float:
    """A log-probability between -6 and 0, the same in every process.

    The fifth letter gets twice that: of the sum it would seldom be the best, of the mean of its
    characters as often as others.
    """
    share = zlib.crc32(f"{question}|{label}".encode()) / 2**32
    return -6 * share * len(label)
