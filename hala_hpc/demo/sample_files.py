"""The files of the demo's sample: their contents and how they are made."""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.files import write_text
from hala_hpc.demo.benchmark import TASKS, draw_questions, questions_name
from hala_hpc.demo.pairs import judge_lessons, spoil_some
from hala_hpc.demo.rows import (
    Row,
    facts,
    hand_written,
    instruction_rows,
    opus_row,
    pair_source,
    question_row,
    take_held_out,
    take_pairs,
    take_with_facts,
)

PARALLEL, HELD_OUT, LESSONS = "parallel.jsonl", "held-out.jsonl", "teacher-lessons.jsonl"
JUDGE_LESSONS, TEACHER_ENGLISH = "judge-lessons.jsonl", "teacher-english.jsonl"
ENGLISH, ALPACA, MESSAGES = "english.jsonl", "alpaca.jsonl", "messages.jsonl"
BASE_LESSONS = "base-lessons.jsonl"
BENCHMARK = "benchmark"


@dataclass(frozen=True)
class SampleCounts:
    """Number of rows of each kind."""

    lessons: int
    parallel: int
    held_out: int
    judged: int
    teacher_english: int
    english: int
    base_lessons: int
    questions: int


def make_rows(
    counts: SampleCounts, spoilt: float, judge_prompt: str, seed: int
) -> dict[str, list[Row]]:
    """Return the rows of every file.

    No held-out sentence, and no question of the benchmark, is in another file.
    """
    draw = random.Random(seed)
    questions = draw_questions(counts.questions, random.Random(seed))
    asked = {text for one in questions for text in (one.question.english, one.question.arabic)}
    source = pair_source(seed, asked)
    held_out = take_held_out(source, counts.held_out)
    parallel = spoil_some(take_with_facts(source, counts.parallel), spoilt, draw)
    lessons = take_with_facts(source, counts.lessons)
    judged = take_pairs(source, counts.judged)
    verdicts = judge_lessons(judged, judge_prompt, draw)
    known = {pair.english for pair in held_out} | asked
    english = instruction_rows(counts.english, draw, known, [[turn] for turn in facts()])
    benchmark = {
        f"{BENCHMARK}/{questions_name(task)}": [one.row(language) for one in questions]
        for language, task in TASKS.items()
    }
    return {
        HELD_OUT: [opus_row(pair) for pair in held_out],
        PARALLEL: [opus_row(pair) for pair in parallel],
        LESSONS: [opus_row(pair) for pair in lessons],
        JUDGE_LESSONS: [question_row(question, verdict) for question, verdict in verdicts],
        TEACHER_ENGLISH: instruction_rows(counts.teacher_english, draw, known),
        ENGLISH: english,
        BASE_LESSONS: instruction_rows(counts.base_lessons, draw, known),
        ALPACA: hand_written(ALPACA),
        MESSAGES: hand_written(MESSAGES),
        **benchmark,
    }


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write JSON lines atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
