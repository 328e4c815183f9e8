"""A worker of `translate` in this process: units in, committed units out, its start left out."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.translate.workload import PROMPT
from hala_hpc.core.errors import Retry
from hala_hpc.core.files import claim_folder, write_json
from hala_hpc.core.stage import Facts
from hala_hpc.engines.generation.engine import Engine, EngineConfig
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.stages.translate import Settings, Translate

#: Units of the one worker.
UNITS = 8


class LocalInputs:
    """References are folders."""

    def path(self, reference: str) -> str:
        """The folder itself."""
        return reference

    def summary(self, reference: str) -> None:
        """There is none."""
        del reference


class LocalOut:
    """Where the worker's units go: checked, published and marked as in a job."""

    rank, world_size, worker, attempt, stop = 0, 1, 0, "attempt", False
    seconds_left = None

    def __init__(self, base: Path, stage: Translate) -> None:
        self.base, self.stage, self.shared = base, stage, base / "shared"
        self.cache = base / "cache"
        self.facts: list[Facts] = []
        for name in ("units", "done", "shared"):
            (base / name).mkdir(parents=True)

    def folder(self, unit: int) -> Path:
        """Where the files of a unit are written."""
        folder = self.base / "attempt" / str(unit)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def kept(self, unit: int) -> Path:
        """Where the pieces of a unit are kept."""
        folder = self.base / "kept" / str(unit)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def commit(self, unit: int) -> None:
        """Check, publish and mark a unit."""
        facts = self.stage.check(unit, self.folder(unit))
        facts.verify()
        claim_folder(self.folder(unit), self.base / "units" / str(unit))
        write_json(self.base / "done" / f"{unit}.json", facts.as_dict())
        self.facts.append(facts)

    def require_lease(self) -> None:
        """Nobody takes it."""

    def progress(self, **counts: float) -> None:
        """Nobody watches."""

    def new_log(self) -> str:
        """There is no log."""
        return ""

    def leave(self, error: Retry) -> None:
        """Raise RuntimeError: the measurement does not go on without its worker."""
        raise RuntimeError(str(error))


@dataclass(frozen=True)
class WorkerRun:
    """What a worker did with a corpus."""

    seconds: float
    rows: int
    rejected: dict[str, int]
    costs: dict[str, float]


class Worker:
    """A worker with its engine, ready to take corpora."""

    def __init__(self, engine: Engine, model: Path) -> None:
        self.engine, self.model = engine, model

    def stage(self, corpus: Path) -> Translate:
        """The stage as a recipe would set it."""
        settings = Settings(
            model=str(self.model),
            corpus=str(corpus),
            prompt=PROMPT,
            units=UNITS,
            engine=self.engine.settings,
            max_rejected_fraction=1.0,
        )
        return Translate(settings, LocalInputs())

    def run(self, corpus: Path, base: Path) -> WorkerRun:
        """Translate a corpus: read, segment, generate, check, commit."""
        from hala_hpc.engines.generation.row_scheduler import UnitFeed

        stage = self.stage(corpus)
        out = LocalOut(base, stage)
        feed = UnitFeed(self.engine, stage.work, out)
        started = time.monotonic()
        feed.run(range(UNITS))
        seconds = time.monotonic() - started
        assert len(out.facts) == UNITS
        rejected: dict[str, int] = {}
        for facts in out.facts:
            for reason, count in facts.rejected.items():
                rejected[reason] = rejected.get(reason, 0) + count
        rows = sum(facts.rows_in for facts in out.facts)
        costs = sum((Counter(facts.details) for facts in out.facts), Counter[str]())
        return WorkerRun(seconds, rows, rejected, dict(costs))

    def prompts(self, corpus: Path, base: Path) -> Iterator[tuple[int, ...]]:
        """Prompt ids of all texts of a corpus as the worker asks them first, in their order."""
        from hala_hpc.data.corpus.reader import read_rows
        from hala_hpc.engines.generation.request_queue import Questions

        stage = self.stage(corpus)
        out = LocalOut(base, stage)
        task = stage.work.task
        task.fit(*Questions(self.engine, stage.blank, out).measure())
        for row in read_rows(corpus):
            # A row of nothing but code asks nothing.
            if not (asks := next(task.program(row), [])):
                continue
            yield from map(tuple, self.engine.prompt_ids([ask.words for ask in asks]))


def engine_config(model: Path, settings: EngineSettings) -> EngineConfig:
    """What the engine of a worker is started for."""
    return EngineConfig(str(model), settings, template=PROMPT)


def engine_settings(quick: bool) -> EngineSettings:
    """The same for every side: few rows at once and a small step, as a CPU has it."""
    seqs, tokens = (16, 1024) if quick else (128, 4096)
    return EngineSettings(
        max_model_len=2048, max_num_seqs=seqs, max_num_batched_tokens=tokens, cpu_cache_gb=0.5
    )
