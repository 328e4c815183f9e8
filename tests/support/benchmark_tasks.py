"""lm-eval task files of small invented benchmarks whose data are files on the disk."""

import json
from pathlib import Path
from typing import Any

TASK = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: " "
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
metadata: {{version: 1}}
"""
GROUP = """group: {name}
task: [{tasks}]
aggregate_metric_list:
- {{metric: acc, aggregation: mean, weight_by_size: {weighted}}}
metadata: {{version: 1}}
"""
#: Words of the questions and choices.
THINGS = ("خبز", "ماء", "كتاب", "بيت", "باب", "ولد", "بنت", "سماء")


def question_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Questions with four different choices each, the first of which is right in every fourth."""
    rows = []
    for number in range(start, start + count):
        choices = [THINGS[(number + place) % len(THINGS)] for place in range(4)]
        rows.append({"question": f"{number}?", "choices": choices, "answer": number % 4})
    return rows


def write_question_task(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Write a task of these questions."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    data.write_text("".join(lines), encoding="utf-8")
    (folder / f"{name}.yaml").write_text(TASK.format(name=name, data=data), encoding="utf-8")


def write_group(folder: Path, name: str, tasks: list[str], weighted: bool) -> None:
    """Write a group of tasks whose score is their mean, weighted by size or not."""
    text = GROUP.format(name=name, tasks=", ".join(tasks), weighted=str(weighted).lower())
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
