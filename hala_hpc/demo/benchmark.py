"""Multiple-choice tests in both languages, as task files for lm-eval that need no network.

The questions are those of the patterns. Four answers differ in one word of the question: the
correct one repeats it, the others have another word of its kind. So a question needs no fact that
a model must have seen, and none of them is in training data.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.files import write_text
from hala_hpc.demo.patterns import Pair, Pattern, lexicon_section
from hala_hpc.demo.rows import Row, question_patterns
from hala_hpc.demo.words import Word, lexicon

#: Names of the lm-eval tasks by the language of their questions.
TASKS = {"arabic": "hala_demo_arabic", "english": "hala_demo_english"}
CHOICES = 4
#: Share of the questions of a pattern that is asked: the others are for training.
SHARE_ASKED = 1 / 3
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


@dataclass(frozen=True)
class BenchmarkQuestion:
    """A question in both languages, with answers of which one is correct."""

    question: Pair
    choices: tuple[Pair, ...]
    answer: int
    """Index of the correct one of `choices`."""

    def row(self, language: str) -> Row:
        """Return the question in one language, as the task reads it."""
        return {
            "question": getattr(self.question, language),
            "choices": [getattr(choice, language) for choice in self.choices],
            "answer": self.answer,
        }


def draw_questions(count: int, draw: random.Random) -> list[BenchmarkQuestion]:
    """Draw distinct questions, one of each pattern in turn, up to `SHARE_ASKED` of its questions.

    Raises: UserError (CONFIG) if there are fewer.
    """
    found: dict[str, BenchmarkQuestion] = {}
    left = {pattern: int(SHARE_ASKED * count_questions(pattern)) for pattern in testing_patterns()}
    if count > sum(left.values()):
        raise UserError(f"questions={count}: there are {sum(left.values())}; ask for fewer", CONFIG)
    arabic: set[str] = set()
    while len(found) < count:
        for pattern in [pattern for pattern, number in left.items() if number]:
            drawn = draw_question(pattern, draw)
            is_new = drawn.question.english not in found and drawn.question.arabic not in arabic
            if is_new and has_distinct_choices(drawn):
                found[drawn.question.english] = drawn
                arabic.add(drawn.question.arabic)
                left[pattern] -= 1
    return list(found.values())[:count]


def has_distinct_choices(question: BenchmarkQuestion) -> bool:
    """Whether all choices differ, in both languages."""
    return all(len(set(question.row(language)["choices"])) == CHOICES for language in TASKS)


def count_questions(pattern: Pattern) -> int:
    """Return how many questions a pattern makes, at least."""
    kinds = [lexicon_section(slot) for slot in Pattern(pattern.topic, pattern.pairs[:1]).slots]
    return prod(len(lexicon()[kind]) - kinds[:n].count(kind) for n, kind in enumerate(kinds))


def testing_patterns() -> list[Pattern]:
    """Return the patterns whose answer repeats a word of the question, but those of facts."""
    return [
        pattern
        for pattern in question_patterns()
        if pattern.topic != "knowledge" and list(repeated_slots(pattern))
    ]


def repeated_slots(pattern: Pattern) -> Iterator[str]:
    """Yield the slots of question and answer whose kind has enough words for wrong answers."""
    question, answer = (Pattern(pattern.topic, (pair,)).slots for pair in pattern.pairs)
    for slot in question:
        same_kind = sum(lexicon_section(other) == lexicon_section(slot) for other in pattern.slots)
        if slot in answer and len(lexicon()[lexicon_section(slot)]) >= CHOICES - 1 + same_kind:
            yield slot


def draw_question(pattern: Pattern, draw: random.Random) -> BenchmarkQuestion:
    """Fill a pattern; in each wrong answer, one word of the question is replaced."""
    words = pattern.draw_words(draw)
    slot = draw.choice(list(repeated_slots(pattern)))
    known = {word.english[""] for word in words.values()}
    others = [word for word in lexicon()[lexicon_section(slot)] if word.english[""] not in known]
    question, correct = pattern.put(words)
    choices = [answer_with(pattern, words, slot, one) for one in draw.sample(others, CHOICES - 1)]
    answer = draw.randrange(CHOICES)
    choices.insert(answer, correct)
    return BenchmarkQuestion(question, tuple(choices), answer)


def answer_with(pattern: Pattern, words: dict[str, Word], slot: str, word: Word) -> Pair:
    """Return the answer of a pattern with another word in a slot."""
    return pattern.put({**words, slot: word})[1]


def write_tasks(folder: Path, final: Path) -> None:
    """Write the descriptions of the tasks to `folder`; `final`: future folder of the questions."""
    for task in TASKS.values():
        data = json.dumps(str(final / questions_name(task)), ensure_ascii=False)
        write_text(folder / f"{task}.yaml", TASK_YAML.format(task=task, data=data))


def questions_name(task: str) -> str:
    """Return the name of the file with the questions of a task."""
    return f"{task}.jsonl"
