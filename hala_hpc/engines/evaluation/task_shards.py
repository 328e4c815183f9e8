"""The items of an entry of `tasks`: which can be scored, and which belong to a shard.

An entry is a task, or a group of tasks. A shard takes every n-th item of each task. An item that
lm-eval would count as wrong without a word, because its choices or its gold answer are faulty, is
excluded with the reason: it says nothing about a model, and it is the same for all models.
"""

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, CONFIG, UserError
from hala_hpc.core.file_facts import compute_file_digest
from hala_hpc.engines.evaluation.perturbations.perturbation import (
    perturbation_ending,
    plain_entry,
)
from hala_hpc.engines.evaluation.perturbations.perturbed_tasks import perturb_loaded
from hala_hpc.engines.evaluation.score_files import GroupMean, TaskGroup
from hala_hpc.engines.evaluation.task_groups import member_means

#: Why an item is excluded.
EQUAL_CHOICES = "equal_choices"
ONE_CHOICE = "one_choice"
GOLD_OUTSIDE_CHOICES = "gold_outside_choices"
#: Settings of a task that say where its data lies; the digest has the data itself.
PLACES = ("dataset_path", "dataset_name", "dataset_kwargs")


@dataclass(frozen=True)
class LoadedTasks:
    """An entry of the setting `tasks`, loaded by lm-eval."""

    entry: str
    tasks: Mapping[str, Any]
    """lm-eval's tasks by name."""
    groups: Mapping[str, TaskGroup]
    sizes: Mapping[str, int]
    """Items of each task, up to the limit."""
    excluded: Mapping[str, Mapping[int, str]]
    """Reason of each excluded item, by task and number of the item."""
    manager: Any
    """lm-eval's TaskManager that loaded them."""

    def is_divisible(self, task: str) -> bool:
        """Whether the scores of a task are means of its items, so that shards can be joined."""
        return all(is_mean(function) for function in self.tasks[task].aggregation().values())

    def items_of_shard(self, task: str, shard: int, shards: int) -> list[int]:
        """Numbers of the items of a task that belong to a shard, excluded ones among them.

        If its score is no mean of items, all belong to the first shard.
        """
        if self.is_divisible(task):
            return list(range(shard, self.sizes[task], shards))
        return list(range(self.sizes[task])) if shard == 0 else []


def load_tasks(manager: Any, entry: str, limit: int | None) -> LoadedTasks:
    """Load an entry with lm-eval's TaskManager, and look at all its items.

    Raises: UserError (CONFIG) for a group without tasks; UserError (BAD_DATA) for a task without
    an item that can be scored.
    """
    plain, ending = plain_entry(entry), perturbation_ending(entry)
    loaded = perturb_loaded(manager.load([plain]), entry)
    tasks, groups = loaded["tasks"], loaded["groups"]
    empty = [name for name, group in groups.items() if not group.get_all_tasks()]
    if empty or not tasks:
        names = ", ".join(empty or [entry])
        raise UserError(
            f"tasks: the group {names} has no tasks; name its tasks in its file, or leave it out",
            CONFIG,
        )
    sizes = {name: count_items(task, limit) for name, task in tasks.items()}
    excluded = {name: find_excluded(task, sizes[name]) for name, task in tasks.items()}
    if faults := [
        f"tasks: {name}: none of its {size} items can be scored"
        f"{describe_reasons(excluded[name].values())}; look at its data, or leave it out"
        for name, size in sizes.items()
        if len(excluded[name]) == size
    ]:
        raise UserError(faults, BAD_DATA)
    found = {name: read_group(group) for name, group in groups.items()}
    for name, mean in member_means(manager, [plain]).items():
        named = tuple(f"{member}{ending}" for member in mean.members)
        members = {"members": named, "member_metric": mean.metric}
        found[f"{name}{ending}"] = found[f"{name}{ending}"].model_copy(update=members)
    return LoadedTasks(entry, tasks, found, sizes, excluded, manager)


def describe_reasons(reasons: Iterable[str]) -> str:
    """The distinct reasons in brackets; empty if there are none."""
    distinct = sorted(set(reasons))
    return f" ({', '.join(distinct)})" if distinct else ""


def count_items(task: Any, limit: int | None) -> int:
    """Number of items of a task, up to the limit."""
    number = len(task.eval_docs)
    return number if limit is None else min(number, limit)


def find_excluded(task: Any, size: int) -> dict[int, str]:
    """The items among the first `size` that cannot be scored, each with the reason."""
    config = task.config
    if task.OUTPUT_TYPE != "multiple_choice" or task.multiple_input or config.process_results:
        return {}
    found = {}
    for item, doc in first_documents(task, size):
        if reason := find_choice_fault(task.doc_to_choice(doc), task.doc_to_target(doc)):
            found[item] = reason
    return found


def first_documents(task: Any, size: int) -> Iterator[tuple[int, Any]]:
    """The first documents of a task, each with its number."""
    for item, doc in enumerate(task.eval_docs):
        if item >= size:
            return
        yield item, doc


def find_choice_fault(choices: list[str], gold: Any) -> str:
    """Why a question with these choices and this gold answer cannot be scored; empty if it can."""
    if len(choices) < 2:
        return ONE_CHOICE
    if len({choice.strip() for choice in choices}) < len(choices):
        return EQUAL_CHOICES
    golds = gold if isinstance(gold, list) else [gold]
    if not golds or not all(is_choice(one, choices) for one in golds):
        return GOLD_OUTSIDE_CHOICES
    return ""


def is_choice(gold: Any, choices: list[str]) -> bool:
    """Whether a gold answer is the number or the text of a choice."""
    return 0 <= gold < len(choices) if isinstance(gold, int) else gold in choices


def is_mean(function: Any) -> bool:
    """Whether a score is the mean of its items by lm-eval's own function."""
    from lm_eval.api.metrics import mean

    return function is mean


def read_group(group: Any) -> TaskGroup:
    """The tasks of a group of lm-eval, at any depth, and the means that it defines."""
    means = [
        GroupMean(
            metric=one.metric,
            filters=None if one.filter_list is None else tuple(one.filter_list),
            is_weighted=bool(one.weight_by_size),
        )
        for one in group.aggregate_metric_list or ()
        if one.aggregation == "mean"
    ]
    tasks = tuple(task.task_name for task in group.get_all_tasks())
    return TaskGroup(tasks=tasks, means=tuple(means))


def digest_tasks(loaded: LoadedTasks, num_fewshot: int | None) -> str:
    """SHA-256 of all that a model is asked and scored by: settings, code and data of the tasks.

    Where the data lies is not in it.
    """
    found = sha256()
    for name, task in sorted(loaded.tasks.items()):
        settings = {k: v for k, v in task.dump_config().items() if k not in PLACES}
        code = sorted(map(compute_file_digest, code_files(task)))
        facts = [name, str(task.VERSION), settings, code, loaded.sizes[name]]
        found.update(json.dumps(facts, sort_keys=True, default=str).encode())
        for _, doc in first_documents(task, loaded.sizes[name]):
            found.update(json.dumps(doc, sort_keys=True, default=str).encode())
        if num_fewshot or task.config.num_fewshot:
            for doc in task.fewshot_docs() or ():
                found.update(json.dumps(doc, sort_keys=True, default=str).encode())
    return found.hexdigest()


def code_files(task: Any) -> set[Path]:
    """Files of the functions that the settings of a task name, outside lm-eval's own modules."""
    files = set()
    for value in vars(task.config).values():
        if callable(value) and (name := inspect.getsourcefile(value)):
            files.add(Path(name))
    return files
