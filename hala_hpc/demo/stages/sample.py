"""sample: write the texts of the demo: pairs, instructions, data of a judge, a benchmark."""

import json
import random
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
from hala_hpc.demo.benchmark import QUESTIONS, benchmark_rows, write_task
from hala_hpc.demo.sample_files import (
    BENCHMARK,
    HELD_OUT,
    LESSONS,
    PARALLEL,
    SampleCounts,
    make_rows,
    write_rows,
)


class Settings(StageSettings):
    """Settings of sample."""

    seed: int = 0
    """Seed of the words that fill the patterns."""
    parallel: PositiveInt = 8000
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
    teacher_english: PositiveInt = 300
    """Conversations of `teacher-english.jsonl`, for the teacher to translate."""
    english: PositiveInt = 700
    """Conversations of `english.jsonl`, in addition to about 200 written by hand."""
    resources: Resources = Resources(cpus_per_rank=1, mem_gb=2, timeout_min=10)
    """Resources of the job."""


class Sample(Stage[Settings]):
    """One unit: all files."""

    name = "sample"
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
        )
        for unit in units:
            folder = out.folder(unit)
            made = make_rows(counts, wanted.spoilt_fraction, wanted.judge_prompt, wanted.seed)
            for name, rows in made.items():
                write_rows(folder / name, rows)
            questions = benchmark_rows(random.Random(wanted.seed))
            write_rows(folder / BENCHMARK / QUESTIONS, questions)
            out.commit(unit)

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Count the rows, and check that no held-out sentence is in training data."""
        rows = {
            str(path.relative_to(folder)): read_sample_rows(path)
            for path in sorted(folder.rglob("*.jsonl"))
        }
        training_sentences = {
            row["translation"]["en"] for name in (PARALLEL, LESSONS) for row in rows[name]
        }
        leaked = [r for r in rows[HELD_OUT] if r["translation"]["en"] in training_sentences]
        if leaked:
            raise UserError(
                f"unit {unit}: {len(leaked)} held-out sentences are also in training data", INTERNAL
            )
        counts = {name: len(found) for name, found in rows.items()}
        total = sum(counts.values())
        return UnitCounts(rows_in=total, rows_out=total, details=counts)

    def collect(self, markers: list[UnitMarker], folders: list[Path], output: Path) -> Any:
        """Collect the files, and write the benchmark's task with the path of its questions."""
        details = super().collect(markers, folders, output)
        final = Artifact(output.parent).output
        write_task(output / BENCHMARK, final / BENCHMARK / QUESTIONS)
        return details


def read_sample_rows(path: Path) -> list[dict[str, Any]]:
    """Read back JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


STAGE = Sample
