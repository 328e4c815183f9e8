"""Run lm-eval tasks on a model: choices by its weights in transformers, answers by an engine.

vLLM's backend takes eight times as long on log-likelihood tasks (lm-evaluation-harness issue 2418).
"""

import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import CONFIG, NO_INPUT, UserError
from hala_hpc.core.hub import is_hub_offline
from hala_hpc.core.versions import version_of
from hala_hpc.engines.evaluation.item_files import ItemOutcome, count_excluded
from hala_hpc.engines.evaluation.item_outcomes import exclude_item, name_metric, read_outcomes
from hala_hpc.engines.evaluation.journaled_model import HF, journaled_model_class
from hala_hpc.engines.evaluation.score_files import ModelScores, ScoreSum
from hala_hpc.engines.evaluation.task_data import require_task_data
from hala_hpc.engines.evaluation.task_groups import arab_culture_prompt, make_task_manager
from hala_hpc.engines.evaluation.task_names import warnings_about
from hala_hpc.engines.evaluation.task_needs import TaskNeeds
from hala_hpc.engines.evaluation.task_reader import read_tasks
from hala_hpc.engines.evaluation.task_shards import LoadedTasks
from hala_hpc.engines.generation.engine import EngineConfig
from hala_hpc.engines.generation.settings import DEFAULT_ENGINE, EngineSettings
from hala_hpc.engines.models.attention import AttentionUse, choose_attention

logger = logging.getLogger(__name__)

#: lm-eval's name for tasks whose answers are generated.
GENERATED = "generate_until"


@dataclass(frozen=True)
class BenchmarkRun:
    """Tasks and settings of one lm-eval run."""

    tasks: Sequence[str]
    """Names of lm-eval tasks or groups."""
    include_path: str | None
    """Folder of task files in addition to those of lm-eval."""
    num_fewshot: int | None
    limit: int | None
    """Max questions of a task."""
    batch_size: int
    dtype: str
    attention: str
    """Attention kernel, as in the setting `attention`."""
    chat: bool
    """Whether the model's chat template is applied to the questions."""
    shards: int = 1
    """Number of units among which the items of each task are divided."""
    commit_interval_s: float = 30.0
    """Seconds until answers are on the disk."""
    engine: EngineSettings = field(default_factory=EngineSettings)
    """The engine that generates answers."""


@dataclass(frozen=True)
class ShardResult:
    """What one model does in one shard of an entry of `tasks`."""

    scores: ModelScores
    """Without the label of the model."""
    items: list[ItemOutcome]


def require_tasks(run: BenchmarkRun) -> tuple[Any, list[TaskNeeds]]:
    """Make the TaskManager of a run; check that its tasks exist and that their data can be opened.

    Raises: UserError (CONFIG) for an unknown task, with the closest name; UserError (NO_INPUT) for
    data that is missing or cannot be opened.
    """
    from hala_hpc.engines.evaluation.task_fetch import open_tasks

    for line in warnings_about(run.tasks):
        logger.warning("%s", line)
    manager = make_task_manager(run.tasks, run.include_path, run.chat)
    needs = read_tasks(manager, run.tasks, run.include_path)
    if unknown := [f"tasks: {one.problem}" for one in needs if one.problem]:
        raise UserError(unknown, CONFIG)
    if is_hub_offline(os.environ, default=True):
        require_task_data(needs, os.environ)
    if faults := open_tasks(manager, [one for one in needs if one.own_code]):
        raise UserError(faults, NO_INPUT)
    return manager, needs


def evaluate_shard(model: Any, loaded: LoadedTasks, shard: int, run: BenchmarkRun) -> ShardResult:
    """Score a model from `load_model`, with the journal of the unit, on one shard of loaded tasks.

    Requests that the journal has answers to are not made again.

    Raises: StopRequested if the job must stop; UserError (BAD_DATA) for NaN.
    """
    import lm_eval

    items = {name: loaded.items_of_shard(name, shard, run.shards) for name in loaded.tasks}
    excluded = [
        exclude_item(name, loaded.tasks[name], item, loaded.excluded[name][item])
        for name, numbers in items.items()
        for item in numbers
        if item in loaded.excluded.get(name, {})
    ]
    left_out = {(one.task, one.item) for one in excluded}
    asked = {
        name: NumberList(item for item in numbers if (name, item) not in left_out)
        for name, numbers in items.items()
    }
    asked = {name: numbers for name, numbers in asked.items() if numbers}
    if not asked:
        nothing = ModelScores(entry=loaded.entry, groups=dict(loaded.groups))
        return ShardResult(count_shard(nothing, excluded), sort_items(excluded))
    results = lm_eval.simple_evaluate(
        model=model,
        tasks=[loaded.tasks[name] for name in asked],
        num_fewshot=run.num_fewshot,
        batch_size=run.batch_size,
        samples=asked,
        # Without one, lm-eval reads its 14,000 task files for each unit.
        task_manager=loaded.manager,
        apply_chat_template=run.chat,
        bootstrap_iters=0,
        log_samples=True,
    )
    outcomes = [one for name in asked for one in read_outcomes(name, loaded.tasks[name], results)]
    results["config"]["limit"] = run.limit
    scores = sum_outcomes(loaded, results, outcomes, {"chat": "yes" if run.chat else "no"})
    for name in scores.signatures:
        of_tasks = list(loaded.groups[name].tasks) if name in loaded.groups else [name]
        scores.signatures[name] += f"|{describe_engines(model, of_tasks, run)}"
        if name in asked and loaded.tasks[name].OUTPUT_TYPE != GENERATED:
            scores.signatures[name] += f"|choices:{model.describe_ways(name)}"
    return ShardResult(count_shard(scores, excluded), sort_items([*outcomes, *excluded]))


def describe_engines(model: Any, tasks: Sequence[str], run: BenchmarkRun) -> str:
    """What answered the requests of tasks, and in which number format."""
    names = sorted({name for task in tasks for name in model.backends.get(task, ())})
    parts = {"backend": "+".join(names)}
    if HF in names:
        if not model.attention:
            # All answers are those of an earlier attempt.
            model.load_weights()
        parts |= {"attention": model.attention, "dtype": model.dtype_name}
    if any(name != HF for name in names):
        settings = run.engine
        parts |= {"engine-dtype": settings.dtype, "kv-cache": settings.kv_cache_dtype}
    if DEFAULT_ENGINE in names:
        parts[DEFAULT_ENGINE] = version_of(DEFAULT_ENGINE)
    return "|".join(f"{name}:{value}" for name, value in parts.items())


def sort_items(items: Iterable[ItemOutcome]) -> list[ItemOutcome]:
    """The items of each task in the order of its data."""
    return sorted(items, key=lambda one: (one.task, one.item))


class NumberList(list[int]):
    """Numbers of items in ascending order, as lm-eval takes them; `in` is fast."""

    def __init__(self, numbers: Iterable[int]) -> None:
        super().__init__(numbers)
        self._known = frozenset(self)

    def __contains__(self, number: object) -> bool:
        return number in self._known


def sum_outcomes(
    loaded: LoadedTasks,
    results: Mapping[str, Any],
    outcomes: Sequence[ItemOutcome],
    how: dict[str, str],
) -> ModelScores:
    """The score file of a shard: sums of means, and the other scores as lm-eval computes them.

    `how`: parts of each signature that lm-eval does not report.
    """
    sums: dict[str, ScoreSum] = {}
    scores: dict[str, float] = {}
    for name in results["results"]:
        own = [one for one in outcomes if one.task == name]
        if loaded.is_divisible(name):
            metrics = dict.fromkeys(key for one in own for key in one.scores)
            sums |= {f"{name}/{key}": sum_metric(own, key) for key in metrics}
        else:
            scores |= read_aggregates(name, results["results"][name])
    signatures = {name: format_signature(name, results, how) for name in results["results"]}
    # A group has the signature of its first task, but for its version.
    for name, group in loaded.groups.items():
        signatures[name] = format_signature(name, results, how, shots_of=group.tasks[0])
    return ModelScores(
        entry=loaded.entry,
        scores=scores,
        sums=sums,
        samples={name: sum(one.task == name for one in outcomes) for name in results["results"]},
        signatures=signatures,
        metrics={one.task: one.metric for one in outcomes},
        groups=dict(loaded.groups),
    )


def sum_metric(outcomes: Sequence[ItemOutcome], metric: str) -> ScoreSum:
    """Sums of one metric over the items that have it."""
    known = [one for one in outcomes if metric in one.scores]
    values = [one.scores[metric] for one in known]
    clusters: dict[str, tuple[int, float]] = {}
    if any(one.cluster for one in known):
        for one, value in zip(known, values, strict=True):
            name = one.cluster or f"item {one.item}"
            items, total = clusters.get(name, (0, 0.0))
            clusters[name] = (items + 1, total + value)
    return ScoreSum(
        items=len(values),
        total=math.fsum(values),
        squares=math.fsum(value**2 for value in values),
        clusters=clusters,
    )


def read_aggregates(task: str, values: Mapping[str, Any]) -> dict[str, float]:
    """Scores of a task from lm-eval's results, keyed `<task>/<metric>`."""
    found = {}
    for key, value in values.items():
        metric, comma, filter_ = key.partition(",")
        if comma and isinstance(value, Real) and not metric.endswith("_stderr"):
            found[f"{task}/{name_metric(metric, filter_)}"] = float(value)
    return found


def count_shard(scores: ModelScores, excluded: Sequence[ItemOutcome]) -> ModelScores:
    """The scores with the number of excluded items by task and reason."""
    tasks = dict.fromkeys(one.task for one in excluded)
    counts = {
        name: dict(count_excluded([one for one in excluded if one.task == name])) for name in tasks
    }
    return scores.model_copy(update={"excluded": counts})


def load_model(model: str, run: BenchmarkRun, cache_folder: Path | None = None) -> Any:
    """Make lm-eval's model, with the attention that its config specifies; see `JournaledModel`.

    `cache_folder` is that of the engine, for compiled code.

    Raises: UserError (CONFIG) if the attention kernel would change what the model computes.
    """
    import torch
    from transformers import AutoConfig

    device = "cuda" if torch.cuda.is_available() else "cpu"
    use = AttentionUse(device, run.dtype, trains=False)
    return journaled_model_class()(
        EngineConfig(model, run.engine, cache_folder=cache_folder),
        pretrained=model,
        dtype=run.dtype,
        batch_size=run.batch_size,
        device=device,
        attn_implementation=choose_attention(AutoConfig.from_pretrained(model), run.attention, use),
    )


def format_signature(
    task: str, results: Mapping[str, Any], how: dict[str, str], shots_of: str = ""
) -> str:
    """Describe how the scores of a task were computed, in the form of sacreBLEU's signatures."""
    config = results["config"]
    parts = {
        "task": results["versions"].get(task, "group"),
        "shots": results["n-shot"].get(shots_of or task, 0),
        "limit": config.get("limit") or "none",
        **how,
        **({"variables": arab_culture_prompt()} if task.startswith("arab_culture") else {}),
        "lm-eval": results["lm_eval_version"],
        "transformers": results["transformers_version"],
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())
