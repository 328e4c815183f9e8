"""sample: write the texts of the demo: pairs, instructions, data of a judge, a benchmark."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.estimate import Estimate, EstimateInputs
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.demo.benchmark import TASKS, questions_name, write_tasks
from hala_hpc.demo.sample_files import (
    BENCHMARK,
    HELD_OUT,
    SampleCounts,
    make_rows,
    write_rows,
)
from hala_hpc.demo.tokenizer import strings_in_row


class Settings(StageSettings):
    """Settings of sample."""

    seed: int = 0
    """Seed of the words that fill the patterns."""
    parallel: PositiveInt = 4000
    """Pairs of `parallel.jsonl`, some of them spoilt; for the judge to filter."""
    spoilt_fraction: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Share of them that is spoilt."""
    held_out: PositiveInt = 200
    """Pairs of `held-out.jsonl`, for testing."""
    teacher_lessons: PositiveInt = 6000
    """Correct pairs of `teacher-lessons.jsonl`."""
    judged: PositiveInt = 4000
    """Pairs of `judge-lessons.jsonl`: half of them judged twice, correct and spoilt, and all of
    them translated."""
    judge_prompt: str = "Accept or reject: {source} = {target}"
    """Prompt of the judge, with placeholders {source} and {target}; the filter must use the same.
    """
    teacher_english: PositiveInt = 200
    """Conversations of `teacher-english.jsonl`, for the teacher to translate."""
    english: PositiveInt = 600
    """Conversations of `english.jsonl`, in addition to about 200 written by hand."""
    base_lessons: PositiveInt = 2000
    """Conversations of `base-lessons.jsonl`, which teach the base model English."""
    questions: PositiveInt = 400
    """Questions of the benchmark in each language; none of them is in another file."""
    resources: Resources = Resources(cpus_per_rank=1, mem_gb=2, timeout_min=10)
    """Resources of the job."""


class Sample(Stage[Settings]):
    """One unit: all files."""

    name = "sample"
    version = 2
    produces = "files"
    Settings = Settings

    def estimate(self, inputs: EstimateInputs) -> Estimate | None:
        """None: the texts of the demo are small, and no GPU is needed."""
        del inputs
        return None

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Write every file."""
        wanted = self.settings
        counts = SampleCounts(
            lessons=wanted.teacher_lessons,
            parallel=wanted.parallel,
            held_out=wanted.held_out,
            judged=wanted.judged,
            teacher_english=wanted.teacher_english,
            english=wanted.english,
            base_lessons=wanted.base_lessons,
            questions=wanted.questions,
        )
        for unit in units:
            folder = out.folder(unit)
            made = make_rows(counts, wanted.spoilt_fraction, wanted.judge_prompt, wanted.seed)
            for name, rows in made.items():
                write_rows(folder / name, rows)
            out.commit(unit)

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Count the rows; check that training data has no held-out sentence and no question."""
        rows = {
            str(path.relative_to(folder)): read_sample_rows(path)
            for path in sorted(folder.rglob("*.jsonl"))
        }
        held_out = {row["translation"]["en"] for row in rows[HELD_OUT]}
        held_out |= {
            row["question"] for task in TASKS.values() for row in rows[question_file(task)]
        }
        training = {name: found for name, found in rows.items() if name not in held_out_files()}
        leaked = held_out & {text for found in training.values() for text in strings_in_row(found)}
        if leaked:
            raise UserError(
                f"unit {unit}: {len(leaked)} held-out sentences or questions of the benchmark are "
                "also in training data",
                INTERNAL,
            )
        counts = {name: len(found) for name, found in rows.items()}
        total = sum(counts.values())
        return UnitCounts(rows_in=total, rows_out=total, details=counts)

    def collect(self, markers: list[UnitMarker], folders: list[Path], output: Path) -> Any:
        """Collect the files, and write the benchmark's tasks with the paths of their questions."""
        details = super().collect(markers, folders, output)
        final = Artifact(output.parent).output
        write_tasks(output / BENCHMARK, final / BENCHMARK)
        return details


def question_file(task: str) -> str:
    """Return the path of the questions of a task in the folder of the sample."""
    return f"{BENCHMARK}/{questions_name(task)}"


def held_out_files() -> set[str]:
    """Return the files that no model is trained on."""
    return {HELD_OUT, *map(question_file, TASKS.values())}


def read_sample_rows(path: Path) -> list[dict[str, Any]]:
    """Read back JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


STAGE = Sample
