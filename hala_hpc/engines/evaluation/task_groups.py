"""lm-eval's TaskManager with the task files of our groups."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

#: Task files of our groups.
OWN_TASKS = Path(__file__).with_name("tasks")
#: lm-eval's arab_culture reads these from the environment of its process. Without them it asks in
#: English, and names neither country nor region.
ARAB_CULTURE_VARIABLES = {"ARABIC": "True", "REGION": "True", "COUNTRY": "True"}


def make_task_manager(tasks: Iterable[str], include_path: str | None, chat: bool = False) -> Any:
    """Make lm-eval's TaskManager for tasks, with our groups and the files of `include_path`.

    lm-eval's own 14,000 task files, which take 15 s to read, are read only if a task needs them; a
    group may name the folders that it needs. `chat`: whether questions go through a chat template.
    """
    names = list(tasks)
    own = [str(OWN_TASKS), *([include_path] if include_path else [])]
    kind = manager_class(chat)
    manager = kind(include_path=own, include_defaults=False)
    folders = lm_eval_folders(manager, names)
    if folders:
        manager = kind(include_path=[*folders, *own], include_defaults=False)
    if all(name in manager.task_index for name in names_in(manager, names)):
        return manager
    return kind(include_path=own)


def manager_class(chat: bool) -> Any:
    """The class of TaskManager that applies what lm-eval's task files cannot say."""
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

    # Here, as dry runs import this module for the folder of the task files alone.
    from hala_hpc.engines.evaluation.tasks.lettered_item import CHAT_PROMPT, PLAIN_PROMPT

    class GroupTaskManager(TaskManager):
        """Gives tasks inside a group's file its version, and questions the prompt of the mode."""

        def load(self, task_list: Any) -> Any:
            with arab_culture_variables():
                loaded = super().load(task_list)
            for group in loaded["groups"].values():
                for task in group:
                    if isinstance(task, ConfigurableTask) and "::" in task.task_name:
                        task.VERSION = group.version
            for task in loaded["tasks"].values():
                if chat and getattr(task.config, "doc_to_text", None) == PLAIN_PROMPT:
                    task.set_config("doc_to_text", CHAT_PROMPT)
            return loaded

    return GroupTaskManager


def names_in(manager: Any, tasks: Iterable[str]) -> list[str]:
    """Tasks, and the names of all groups and tasks that they consist of, also missing ones."""
    waiting, found = list(tasks), dict[str, None]()
    while waiting:
        name = waiting.pop()
        entry = manager.task_index.get(name)
        if name not in found and entry is not None and entry.cfg and "group" in entry.cfg:
            waiting += members_of(entry.cfg)
        found[name] = None
    return list(found)


def members_of(group: Mapping[str, Any]) -> Iterator[str]:
    """The tasks and groups that a group's file names, but not those defined inside it."""
    for member in group.get("task") or []:
        if isinstance(member, str):
            yield member
        elif isinstance(member.get("task"), list):
            yield from members_of(member)
        elif not {"dataset_path", "class"} & {*group, *member}:
            yield member.get("task") or member["group"]


def lm_eval_folders(manager: Any, tasks: Iterable[str]) -> list[str]:
    """Folders of lm-eval's task files that groups name as `metadata.lm_eval_folders`."""
    import lm_eval.tasks

    folder = Path(lm_eval.tasks.__file__).parent
    found = dict[str, None]()
    for name in names_in(manager, tasks):
        entry = manager.task_index.get(name)
        metadata = (entry.cfg or {}).get("metadata") if entry is not None else None
        for part in (metadata or {}).get("lm_eval_folders", []):
            found[str(folder / part)] = None
    return list(found)


@contextmanager
def arab_culture_variables() -> Iterator[None]:
    """Set the variables of arab_culture while tasks are loaded; what the user has set stays."""
    added = {name: text for name, text in ARAB_CULTURE_VARIABLES.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def arab_culture_prompt() -> str:
    """The variables with which arab_culture asks here, for a signature."""
    found = {name: os.environ.get(name, text) for name, text in ARAB_CULTURE_VARIABLES.items()}
    return ",".join(f"{name}={text}" for name, text in found.items())


class MemberMean(NamedTuple):
    """The mean of a metric over the members of a group."""

    metric: str
    members: tuple[str, ...]


def member_means(manager: Any, tasks: Iterable[str]) -> dict[str, MemberMean]:
    """Groups whose score is the mean of their members' scores, by name.

    lm-eval's own mean of a group is that of all its tasks, so that a benchmark with many sub-tasks
    would count more than others.
    """
    found = {}
    for name in names_in(manager, tasks):
        entry = manager.task_index.get(name)
        config = (entry.cfg or {}) if entry is not None else {}
        if metric := (config.get("metadata") or {}).get("mean_of_members"):
            found[name] = MemberMean(str(metric), tuple(members_of(config)))
    return found
