"""Makes the units of benchmarks in one process: model and tasks stay loaded between units."""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from hala_hpc.core.environment import set_job_environment
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.stage import UnitContext
from hala_hpc.core.versions import version_of
from hala_hpc.engines.evaluation.answer_journal import AnswerJournal
from hala_hpc.engines.evaluation.chat_template import chat_template_faults
from hala_hpc.engines.evaluation.evaluation_store import (
    STORED_ITEMS,
    STORED_SCORES,
    EvaluationKey,
    EvaluationStore,
)
from hala_hpc.engines.evaluation.item_files import items_name, write_items, write_items_of_model
from hala_hpc.engines.evaluation.item_progress import ItemProgress
from hala_hpc.engines.evaluation.lm_eval import (
    GENERATED,
    BenchmarkRun,
    ShardResult,
    evaluate_shard,
    load_model,
    require_tasks,
)
from hala_hpc.engines.evaluation.model_digest import digest_model
from hala_hpc.engines.evaluation.score_files import ModelScores, score_name
from hala_hpc.engines.evaluation.task_data import data_commits
from hala_hpc.engines.evaluation.task_shards import LoadedTasks, digest_tasks, load_tasks
from hala_hpc.engines.generation.batch import AnswerCount
from hala_hpc.engines.generation.settings import DEFAULT_ENGINE
from hala_hpc.engines.generation.watchdog import EngineWatch

if TYPE_CHECKING:
    from hala_hpc.engines.models.compile_cache import CompileCache

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkModel:
    """A model to be scored."""

    label: str
    path: str
    known_digests: Mapping[str, str]
    """SHA-256 of its files by name, as far as they are known."""


@dataclass(frozen=True)
class BenchmarkShard:
    """What one unit does: a model, an entry of `tasks`, and a shard of its items."""

    model: BenchmarkModel
    entry: str
    shard: int


class BenchmarkUnits:
    """Scores models on shards of tasks; a result that the work folder has is not made again.

    `compile_cache` makes the cache of compiled code, once the first model is loaded. `count` is
    that of the worker, in which an item is a row.
    """

    def __init__(
        self,
        run: BenchmarkRun,
        store: EvaluationStore,
        compile_cache: Callable[[], "AbstractContextManager[CompileCache]"],
        count: AnswerCount,
    ) -> None:
        self.run, self.store, self.compile_cache = run, store, compile_cache
        self.count = count
        self._stack = ExitStack()
        self._compiled: CompileCache | None = None
        self._manager: Any = None
        self._loaded: dict[str, LoadedTasks] = {}
        self._task_digests: dict[str, str] = {}
        self._data: dict[str, str] = {}
        self._model: tuple[str, Any] = ("", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.free_model()
        self._stack.close()

    def make(self, one: BenchmarkShard, unit: int, out: UnitContext, must_wait: bool) -> bool:
        """Write score and item file of a unit; False if another job is making the same result.

        `must_wait`: whether to wait for it instead.

        Raises: StopRequested if the job must stop; UserError for tasks and models that cannot be
        scored.
        """
        key = self.key_of(one)
        found = self.store.find(key)
        while found is None and not self.store.begin(key):
            if not must_wait:
                return False
            self.store.wait(key, lambda: out.stop_requested)
            found = self.store.find(key)
        progress = ItemProgress(self.count)
        if found is not None:
            logger.info("%s in %s: evaluated before, %s", one.model.label, one.entry, found)
        else:
            try:
                # Another job may have finished it between the two looks.
                found = self.store.find(key) or self.evaluate(one, unit, progress, key)
            finally:
                self.store.end(key)
        write_unit_files(found, one.model.label, unit, out.folder(unit))
        progress.finish(self.count_items(one.entry, one.shard))
        return True

    def count_items(self, entry: str, shard: int) -> int:
        """Number of items in a shard, excluded ones among them; loads its tasks."""
        loaded = self.load_tasks(entry)
        return sum(len(loaded.items_of_shard(t, shard, self.run.shards)) for t in loaded.tasks)

    def key_of(self, one: BenchmarkShard) -> EvaluationKey:
        """The key of a unit's result; loads its tasks."""
        self.load_tasks(one.entry)
        run = self.run
        settings = {
            "shots": run.num_fewshot,
            "chat": run.chat,
            "shard": f"{one.shard}/{run.shards}",
        }
        known = one.model.known_digests
        libraries = [f"{name}:{version(name)}" for name in ("lm-eval", "transformers")]
        return EvaluationKey(
            model=digest_model(Path(one.model.path), known, self.store.folder / "models"),
            tasks=self._task_digests[one.entry],
            settings="|".join(f"{name}:{value}" for name, value in settings.items()),
            engine="|".join([*libraries, *self.describe_engine(one.entry)]),
            dtype=run.dtype,
        )

    def describe_engine(self, entry: str) -> list[str]:
        """What the generated answers of an entry depend on; empty if it has none."""
        if all(one.OUTPUT_TYPE != GENERATED for one in self.load_tasks(entry).tasks.values()):
            return []
        engine = self.run.engine
        own = [f"vllm:{version_of('vllm')}"] if engine.name == DEFAULT_ENGINE else []
        return [f"engine:{engine.name}", f"kv-cache:{engine.kv_cache_dtype}", *own]

    def load_tasks(self, entry: str) -> LoadedTasks:
        """The tasks of an entry, loaded once; all entries are checked before the first.

        Raises: UserError (CONFIG, NO_INPUT, BAD_DATA) for tasks that cannot be scored.
        """
        if self._manager is None:
            set_job_environment()
            self._manager, needs = require_tasks(self.run)
            self._data = data_commits(needs, os.environ)
        if entry not in self._loaded:
            loaded = load_tasks(self._manager, entry, self.run.limit)
            self._loaded[entry] = loaded
            self._task_digests[entry] = digest_tasks(loaded, self.run.num_fewshot)
        return self._loaded[entry]

    def evaluate(
        self, one: BenchmarkShard, unit: int, progress: ItemProgress, key: EvaluationKey
    ) -> Path:
        """Score a model; return the folder of the result, which may be that of another job.

        A computation that hangs ends this process.
        """
        out = self.count.out
        journal = AnswerJournal(out, unit, self.run.commit_interval_s)
        loaded, model = self.load_tasks(one.entry), self.load_model(one.model)
        with EngineWatch(self.run.engine.step_timeout_s, out.abort) as watch:
            progress.beat = watch.beat
            model.with_journal(journal, progress)
            result = evaluate_shard(model, loaded, one.shard, self.run)
        if self._compiled:
            self._compiled.publish()
        staged = self.store.staging(key)
        self.write_result(result, staged)
        out.check_lease()
        self.store.publish(key, staged, one.model.label, one.entry)
        found = self.store.find(key)
        if found is None:
            raise FileNotFoundError(self.store.folder / key.name)
        return found

    def write_result(self, result: ShardResult, folder: Path) -> None:
        """Write the files of a result, without the label of its model."""
        result.scores.model_copy(update={"data": self._data}).write(folder / STORED_SCORES)
        write_items(folder / STORED_ITEMS, result.items)

    def load_model(self, model: BenchmarkModel) -> Any:
        """The model, loaded unless it is the one of the unit before.

        Raises: UserError (CONFIG) if it has no chat template and needs one.
        """
        if self._model[0] != model.path:
            faults = chat_template_faults({f"models.{model.label}": model.path})
            if self.run.chat and faults:
                raise UserError(faults, CONFIG)
            if self._compiled is None:
                self._compiled = self._stack.enter_context(self.compile_cache())
            # The one before is freed first: two may not fit.
            self.free_model()
            made = load_model(model.path, self.run, self.count.out.cache)
            self._model = (model.path, made)
        return self._model[1]

    def free_model(self) -> None:
        """Free the memory of the loaded model, so that another one or an engine can have it."""
        if self._model[1] is None:
            return
        import gc

        self._model[1].close()
        self._model = ("", None)
        gc.collect()


def write_unit_files(result: Path, label: str, unit: int, folder: Path) -> None:
    """Write score and item file of a unit from a result, with the label of the model."""
    scores = ModelScores.read(result / STORED_SCORES)
    if scores is None:
        raise FileNotFoundError(result / STORED_SCORES)
    scores.model_copy(update={"label": label}).write(folder / score_name(unit))
    write_items_of_model(result / STORED_ITEMS, label, folder / items_name(unit))
