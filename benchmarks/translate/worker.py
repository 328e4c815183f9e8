"""A worker of `translate` in this process, from units to committed units, without its start."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from benchmarks.translate.workload import PROMPT
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import TransientError
from hala_hpc.core.job_records import WorkerLease
from hala_hpc.core.records import UnitMarker
from hala_hpc.data.checks.settings import CheckSettings
from hala_hpc.data.segmentation.levels import SegmentLevel
from hala_hpc.engines.generation.engine import Engine, EngineConfig
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.jobs.job_context import JobContext
from hala_hpc.stages.translate import Settings, Translate

#: Units of the one worker.
UNITS = 8
#: Name of the one attempt.
ATTEMPT = "attempt"


class LocalInputs:
    """References are folders."""

    def path(self, reference: str) -> str:
        """The folder itself."""
        return reference

    def summary(self, reference: str) -> None:
        """There is none."""
        del reference


class TimedContext(JobContext):
    """Results as a job writes them: checked, published, with markers and digests, under a lease.

    Only the supervisor and the watchdogs are left out. Counts the seconds of its commits.
    """

    def __init__(self, base: Path, stage: Translate) -> None:
        artifact = Artifact(base)
        WorkerLease(attempt=ATTEMPT).write(artifact.lease_file(0))
        super().__init__(artifact, stage, 0, ATTEMPT)
        self.commit_seconds = 0.0

    @property
    def seconds_left(self) -> float | None:
        """Nothing ends this process."""
        return None

    def commit(self, unit: int) -> None:
        """Check and publish a unit, write its marker, and count the seconds."""
        started = time.monotonic()
        super().commit(unit)
        self.commit_seconds += time.monotonic() - started

    def abort(self, error: TransientError) -> NoReturn:
        """Raise RuntimeError: the measurement cannot continue without its worker."""
        raise RuntimeError(str(error))

    def markers(self) -> list[UnitMarker]:
        """Return the marker of every unit. Raises: AssertionError if one has none."""
        found = [self.artifact.marker(unit) for unit in range(UNITS)]
        assert None not in found
        return [marker for marker in found if marker]


@dataclass(frozen=True)
class WorkerRun:
    """Result of a worker for a corpus."""

    seconds: float
    commit_seconds: float
    """Of these, the seconds of the commits of its units."""
    rows: int
    rejected: dict[str, int]
    costs: dict[str, float]


class Worker:
    """A worker with its engine, started."""

    def __init__(
        self,
        engine: Engine,
        model: Path,
        segment: SegmentLevel = "text",
        disabled: Sequence[str] = (),
        logprobs: bool = True,
    ) -> None:
        self.engine, self.model, self.segment = engine, model, segment
        self.disabled = list(disabled)
        """Checks that are not made."""
        self.logprobs = logprobs
        """Whether rows get the log-probability of their answers."""

    def stage(self, corpus: Path) -> Translate:
        """The stage as a recipe would set it."""
        settings = Settings(
            model=str(self.model),
            corpus=str(corpus),
            prompt=PROMPT,
            segment=self.segment,
            checks=CheckSettings(disabled=self.disabled),
            logprobs=self.logprobs,
            units=UNITS,
            engine=self.engine.settings,
            max_rejected_fraction=1.0,
        )
        return Translate(settings, LocalInputs())

    def run(self, corpus: Path, base: Path) -> WorkerRun:
        """Translate a corpus: read, segment, generate, check, commit."""
        from hala_hpc.engines.generation.row_scheduler import RowScheduler

        stage = self.stage(corpus)
        out = TimedContext(base, stage)
        feed = RowScheduler(self.engine, stage.work, out)
        started = time.monotonic()
        feed.run(range(UNITS))
        seconds = time.monotonic() - started
        markers = out.markers()
        rejected = sum((Counter(marker.rejected) for marker in markers), Counter[str]())
        rows = sum(marker.rows_in for marker in markers)
        costs = sum((Counter(marker.details) for marker in markers), Counter[str]())
        return WorkerRun(seconds, out.commit_seconds, rows, dict(rejected), dict(costs))

    def prompts(self, corpus: Path, base: Path) -> Iterator[tuple[int, ...]]:
        """Yield the prompt ids of all texts of a corpus as the worker first requests them."""
        from hala_hpc.data.corpus.reader import read_rows
        from hala_hpc.engines.generation.request_queue import RequestQueue

        stage = self.stage(corpus)
        out = TimedContext(base, stage)
        task = stage.work.task
        task.fit(*RequestQueue(self.engine, stage.empty_prompt, out).measure())
        for row in read_rows(corpus):
            # A row of nothing but code needs no answer.
            if not (prompts := next(task.program(row), [])):
                continue
            yield from map(tuple, self.engine.prompt_ids([prompt.text for prompt in prompts]))


def engine_config(model: Path, settings: EngineSettings) -> EngineConfig:
    """Return the settings with which the engine of a worker starts."""
    return EngineConfig(str(model), settings, template=PROMPT)


def engine_settings(quick: bool) -> EngineSettings:
    """Return the options of every side: few rows at once and a small step, for a CPU."""
    seqs, tokens = (16, 1024) if quick else (128, 4096)
    return EngineSettings(
        max_model_len=2048, max_num_seqs=seqs, max_num_batched_tokens=tokens, cpu_cache_gb=0.5
    )
