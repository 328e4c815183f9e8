"""An Arabic multiple-choice test, as task files for lm-eval that need no network."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hala_hpc.core.files import write_text
from hala_hpc.demo.patterns import Pattern
from hala_hpc.demo.rows import question_patterns

#: Name of the lm-eval task.
TASK = "hala_demo_facts"
#: File with its questions.
QUESTIONS = f"{TASK}.jsonl"
CHOICES = 4
TASK_YAML = """\
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1
"""


def benchmark_rows(draw: random.Random) -> Iterator[dict[str, Any]]:
    """Yield every fact of the lexicon as a question with four answers, one of them correct."""
    for pattern in question_patterns():
        if pattern.topic == "knowledge":
            yield from questions_of(pattern, draw)


def questions_of(pattern: Pattern, draw: random.Random) -> Iterator[dict[str, Any]]:
    """Yield the questions of one pattern; wrong answers are the correct ones of other questions."""
    filled = list(pattern.fill_all())
    answers = list(dict.fromkeys(answer.arabic for _, answer in filled))
    for question, answer in filled:
        wrong = draw.sample([other for other in answers if other != answer.arabic], CHOICES - 1)
        choices = [*wrong, answer.arabic]
        draw.shuffle(choices)
        yield {
            "question": question.arabic,
            "choices": choices,
            "answer": choices.index(answer.arabic),
        }


def write_task(folder: Path, data: Path) -> None:
    """Write the description of the task to `folder`; `data`: future path of its questions."""
    path = json.dumps(str(data), ensure_ascii=False)
    write_text(folder / f"{TASK}.yaml", TASK_YAML.format(task=TASK, data=path))
