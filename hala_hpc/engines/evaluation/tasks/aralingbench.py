"""Prompts of AraLingBench, as its authors ask them: Arabic questions, Latin letters of choices."""

from typing import Any

from hala_hpc.engines.evaluation.tasks.leaderboard_prompts import ANSWER, CHOOSE, LATIN_LETTERS
from hala_hpc.engines.evaluation.tasks.lettered_item import LetteredItem, find_gold


def grammar(rows: Any) -> Any:
    """The questions on grammar."""
    return in_category(rows, "النحو")


def morphology(rows: Any) -> Any:
    """The questions on morphology."""
    return in_category(rows, "الصرف")


def spelling(rows: Any) -> Any:
    """The questions on spelling."""
    return in_category(rows, "الإملاء")


def comprehension(rows: Any) -> Any:
    """The questions on the meaning of texts."""
    return in_category(rows, "فهم اللغة")


def style(rows: Any) -> Any:
    """The questions on syntax and style."""
    return in_category(rows, "التركيب اللغوي والأسلوبي")


def in_category(rows: Any, category: str) -> Any:
    """The rows of a category with the columns of LetteredItem."""
    return rows.filter(lambda row: row["label"] == category).map(aralingbench_columns)


def aralingbench_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a question; the correct answer is the text of an option."""
    options = row["options"]
    labels = LATIN_LETTERS[: len(options)]
    gold = find_gold(row["answer"], tuple(options), row["question"])
    context = [f"السياق: {row['context']}\n"] if row.get("context") else []
    lines = [f"{label}. {option}" for label, option in zip(labels, options, strict=True)]
    question = "\n".join([*context, row["question"], *lines, ANSWER])
    return LetteredItem(CHOOSE, question, labels, gold).columns()
