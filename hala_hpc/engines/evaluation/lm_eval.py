"""Run lm-eval tasks on a model with the hf backend.

vLLM's backend takes eight times as long on log-likelihood tasks (lm-evaluation-harness issue 2418).
"""

import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

from hala_hpc.core.errors import CONFIG, NO_INPUT, UserError
from hala_hpc.core.hub import is_hub_offline
from hala_hpc.engines.evaluation.answer_journal import AnswerJournal, JournalHook, answer_requests
from hala_hpc.engines.evaluation.item_files import ItemOutcome, count_excluded
from hala_hpc.engines.evaluation.item_outcomes import exclude_item, name_metric, read_outcomes
from hala_hpc.engines.evaluation.score_files import ModelScores, ScoreSum
from hala_hpc.engines.evaluation.task_data import require_task_data
from hala_hpc.engines.evaluation.task_groups import arab_culture_prompt, make_task_manager
from hala_hpc.engines.evaluation.task_names import warnings_about
from hala_hpc.engines.evaluation.task_needs import TaskNeeds
from hala_hpc.engines.evaluation.task_reader import read_tasks
from hala_hpc.engines.evaluation.task_shards import LoadedTasks
from hala_hpc.engines.models.attention import AttentionUse, choose_attention, read_running_attention

logger = logging.getLogger(__name__)


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


def evaluate_shard(
    model: Any, loaded: LoadedTasks, shard: int, run: BenchmarkRun, journal: AnswerJournal
) -> ShardResult:
    """Score a model from `load_model` on one shard of loaded tasks.

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
        model=model.with_journal(journal),
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
    how = {"chat": "yes" if run.chat else "no", "attention": read_running_attention(model.model)}
    results["config"]["limit"] = run.limit
    scores = sum_outcomes(loaded, results, outcomes, how)
    for name in asked:
        scores.signatures[name] += f"|choices:{model.describe_ways(name)}"
    return ShardResult(count_shard(scores, excluded), sort_items([*outcomes, *excluded]))


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
    values = [one.scores[metric] for one in outcomes if metric in one.scores]
    return ScoreSum(
        items=len(values),
        total=math.fsum(values),
        squares=math.fsum(value**2 for value in values),
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


def load_model(model: str, run: BenchmarkRun) -> Any:
    """Load the model as lm-eval's `HFLM`, with the attention that its config specifies.

    Its answers come from a journal as far as it has them: see `with_journal`.

    Raises: UserError (CONFIG) if the attention kernel would change what the model computes.
    """
    import torch
    from transformers import AutoConfig

    from hala_hpc.engines.evaluation.choice_model import choice_model_class

    class JournaledModel(choice_model_class()):  # type: ignore[misc]
        """lm-eval's model, which makes no request twice."""

        journal: AnswerJournal

        def with_journal(self, journal: AnswerJournal) -> "JournaledModel":
            """The same model with the journal of another unit."""
            self.journal = journal
            self.cache_hook = JournalHook(journal)
            return self

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
            """Log-probability of each continuation, and whether it is the most probable one."""
            ask = partial(super().loglikelihood, disable_tqdm=disable_tqdm)
            return answer_requests(self.journal, "loglikelihood", requests, ask)

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
            """Log-probability of each text."""
            ask = partial(super().loglikelihood_rolling, disable_tqdm=disable_tqdm)
            return answer_requests(self.journal, "loglikelihood_rolling", requests, ask)

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
            """The generated answers."""
            ask = partial(super().generate_until, disable_tqdm=disable_tqdm)
            return answer_requests(self.journal, "generate_until", requests, ask)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    use = AttentionUse(device, run.dtype, trains=False)
    return JournaledModel(
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
        "backend": "hf",
        "dtype": str(config.get("model_dtype", "")).removeprefix("torch."),
        "lm-eval": results["lm_eval_version"],
        "transformers": results["transformers_version"],
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())
