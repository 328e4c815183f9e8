"""Run lm-eval tasks on a model with the hf backend.

vLLM's backend takes eight times as long on log-likelihood tasks (lm-evaluation-harness issue 2418).
"""

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hala_hpc.core.environment import set_job_environment
from hala_hpc.core.errors import CONFIG, NO_INPUT, UserError
from hala_hpc.core.hub import is_hub_offline
from hala_hpc.engines.evaluation.group_means import add_means_of_members
from hala_hpc.engines.evaluation.score_files import ModelScores
from hala_hpc.engines.evaluation.statistics.intervals import reported_interval
from hala_hpc.engines.evaluation.task_data import data_commits, require_task_data
from hala_hpc.engines.evaluation.task_groups import (
    arab_culture_prompt,
    make_task_manager,
    member_means,
)
from hala_hpc.engines.evaluation.task_names import warnings_about
from hala_hpc.engines.evaluation.task_needs import TaskNeeds
from hala_hpc.engines.evaluation.task_reader import read_tasks
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


def run_benchmarks(model: str, label: str, run: BenchmarkRun) -> ModelScores:
    """Score a model: what is per score is keyed by `<task>/<metric>`, the rest by task.

    Raises: UserError (CONFIG) if the attention kernel would change what the model computes.
    """
    set_job_environment()
    # Checked first, as loading a model takes minutes.
    manager, needs = require_tasks(run)
    import lm_eval

    lm = load_model(model, run)
    results = lm_eval.simple_evaluate(
        model=lm,
        tasks=list(run.tasks),
        num_fewshot=run.num_fewshot,
        limit=run.limit,
        batch_size=run.batch_size,
        task_manager=manager,
        apply_chat_template=run.chat,
        log_samples=False,
    )
    how = {"chat": "yes" if run.chat else "no", "attention": read_running_attention(lm.model)}
    found = read_results(label, results, how)
    for task in found.samples:
        found.signatures[task] += f"|choices:{lm.describe_ways(task)}"
    add_means_of_members(found, member_means(manager, run.tasks))
    return found.model_copy(update={"data": data_commits(needs, os.environ)})


def load_model(model: str, run: BenchmarkRun) -> Any:
    """Load the model for lm-eval, with the attention that its config specifies."""
    import torch
    from transformers import AutoConfig

    from hala_hpc.engines.evaluation.choice_model import choice_model_class

    device = "cuda" if torch.cuda.is_available() else "cpu"
    use = AttentionUse(device, run.dtype, trains=False)
    return choice_model_class()(
        pretrained=model,
        dtype=run.dtype,
        batch_size=run.batch_size,
        device=device,
        attn_implementation=choose_attention(AutoConfig.from_pretrained(model), run.attention, use),
    )


def read_results(label: str, results: dict[str, Any], how: dict[str, str]) -> ModelScores:
    """Convert lm-eval's results; they list groups next to tasks.

    `how`: parts of each signature that lm-eval does not report.
    """
    found = ModelScores(
        label=label,
        scores={},
        samples={task: count["effective"] for task, count in results["n-samples"].items()},
        signatures={task: format_signature(task, results, how) for task in results["results"]},
        groups=results["group_subtasks"],
    )
    for task, values in results["results"].items():
        for key, value in values.items():
            name, comma, filter_ = key.partition(",")
            if not comma or not isinstance(value, int | float):
                continue
            metric = name if filter_ == "none" else f"{name}@{filter_}"
            if not name.endswith("_stderr"):
                found.scores[f"{task}/{metric}"] = float(value)
            elif math.isfinite(value):
                found.errors[f"{task}/{metric.replace('_stderr', '')}"] = float(value)
    for key, error in found.errors.items():
        if key in found.scores:
            # Only tasks have a number of samples: the score of a group is a mean of tasks.
            items = found.samples.get(key.partition("/")[0])
            interval = reported_interval(found.scores[key], error, items)
            found.intervals[key] = (interval.low, interval.high)
    return found


def format_signature(task: str, results: dict[str, Any], how: dict[str, str]) -> str:
    """Describe how the scores of a task were computed, in the form of sacreBLEU's signatures."""
    config = results["config"]
    parts = {
        "task": results["versions"].get(task, "group"),
        "shots": results["n-shot"].get(task, 0),
        "limit": config.get("limit") or "none",
        **how,
        **({"variables": arab_culture_prompt()} if task.startswith("arab_culture") else {}),
        "backend": "hf",
        "dtype": str(config.get("model_dtype", "")).removeprefix("torch."),
        "lm-eval": results["lm_eval_version"],
        "transformers": results["transformers_version"],
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())
