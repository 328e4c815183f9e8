"""Find what tasks read from lm-eval's task files, without loading data or running tasks' code.

A login node runs `python -m hala_hpc.engines.evaluation.task_reader FOLDER INCLUDE_PATH TASK...` in
the environment main, which has lm-eval; the answers are files in the folder.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from hala_hpc.engines.evaluation.task_code import read_code
from hala_hpc.engines.evaluation.task_groups import make_task_manager
from hala_hpc.engines.evaluation.task_names import describe_refused_task, describe_unknown_task
from hala_hpc.engines.evaluation.task_needs import TaskDataSet, TaskNeeds, answer_name

#: Settings of a task that name a split.
SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


class TaskSettings:
    """Replaces lm-eval's task objects: holds the settings of a task and loads nothing."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)
        self.task_name = self.config["task"]


def read_tasks(manager: Any, tasks: Iterable[str], include_path: str | None) -> list[TaskNeeds]:
    """Find what each task, group or tag reads."""
    import lm_eval

    found = []
    for task in tasks:
        facts: dict[str, Any] = {"task": task, "lm_eval": lm_eval.__version__}
        if refusal := describe_refused_task(task, include_path):
            facts["problem"] = refusal
        elif task not in manager.all_tasks:
            faults = broken_files(include_path) if include_path else ()
            message = describe_unknown_task(task, manager.all_tasks, include_path)
            facts["problem"] = "; ".join([message, *faults])
        else:
            try:
                facts |= facts_of(settings_of(manager, task))
            except (ValueError, KeyError, TypeError) as error:
                facts["problem"] = f"the files of lm-eval task {task!r} cannot be read: {error}"
        found.append(TaskNeeds(**facts))
    return found


def broken_files(folder: str) -> Iterator[str]:
    """Task files in a folder that lm-eval skips, each with the reason."""
    import yaml
    from lm_eval.tasks._yaml_loader import load_yaml

    for path in sorted(Path(folder).glob("**/*.yaml")):
        try:
            load_yaml(path, resolve_func=False)
        except (OSError, ValueError, yaml.YAMLError) as error:
            yield f"{path} cannot be read: {' '.join(str(error).split())}"


def settings_of(manager: Any, task: str) -> list[dict[str, Any]]:
    """Settings of every task in a task, group or tag, merged as lm-eval does.

    Functions in the settings remain paths and are not imported.
    """
    from lm_eval.tasks._factory import TaskFactory
    from lm_eval.tasks._yaml_loader import load_yaml

    leaves: list[dict[str, Any]] = []

    class SettingsFactory(TaskFactory):
        """lm-eval's reader of groups, overrides and tags; makes TaskSettings instead of tasks."""

        def _load_full_config(self, entry: Any, overrides: Any = None) -> dict[str, Any]:
            path = entry.yaml_path
            config = load_yaml(path, resolve_func=False) if path else entry.cfg
            return {**deepcopy(config or {}), **(overrides or {})}

        def _build_task(self, entry: Any, overrides: Any) -> TaskSettings:
            return record_settings({"task": entry.name, **self._load_full_config(entry, overrides)})

    def record_settings(config: Mapping[str, Any]) -> TaskSettings:
        made = TaskSettings(config)
        leaves.append(made.config)
        return made

    with replace_inline_tasks(record_settings):
        entry, registry = manager.task_index[task], dict(manager.task_index)
        SettingsFactory().build(entry, overrides=None, registry=registry)
    return leaves


@contextmanager
def replace_inline_tasks(make: Any) -> Iterator[None]:
    """Make lm-eval call `make(config=...)` for tasks defined inside a group's file."""
    from lm_eval.tasks import _factory

    before = _factory.ConfigurableTask
    _factory.ConfigurableTask = make
    try:
        yield
    finally:
        _factory.ConfigurableTask = before


def facts_of(leaves: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Fields of TaskNeeds derived from the settings of tasks."""
    import lm_eval.tasks

    data_sets: dict[str, TaskDataSet] = {}
    metrics: set[str] = set()
    own_code: list[str] = []
    code: set[Path] = set()
    for config in leaves:
        code |= set(function_files(config))
        metrics |= set(hub_metrics(config))
        settings = class_settings(config) if "class" in config else config
        if settings is None or settings.get("custom_dataset"):
            own_code.append(config["task"])
            continue
        found = data_set_of(settings)
        if found is not None:
            add_data_set(data_sets, found)
    from_code = read_code(code, Path(lm_eval.tasks.__file__).parent)
    for path, name in sorted(from_code.data_sets, key=str):
        add_data_set(data_sets, hub_data_set(path, name, {}, ()))
    return {
        "data_sets": tuple(data_sets.values()),
        "metrics": tuple(sorted(metrics | from_code.metrics)),
        "language_data": tuple(sorted(from_code.language_data)),
        "own_code": tuple(own_code),
    }


def add_data_set(found: dict[str, TaskDataSet], one: TaskDataSet) -> None:
    """Add a data set once, with the splits of all tasks that read it."""
    key = repr((one.path, one.name, one.arguments))
    before = found.get(key)
    splits = dict.fromkeys((*(before.splits if before else ()), *one.splits))
    found[key] = one.model_copy(update={"splits": tuple(splits)})


def function_files(value: Any) -> Iterator[Path]:
    """Python files of the functions that settings name, at any nesting depth."""
    if isinstance(value, str):
        file = Path(f"{value.rpartition('.')[0]}.py")
        if file.is_absolute() and file.is_file():
            yield file
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from function_files(item)
    elif isinstance(value, list):
        for item in value:
            yield from function_files(item)


def hub_metrics(config: Mapping[str, Any]) -> Iterator[str]:
    """Metrics of a task that lm-eval loads with the `evaluate` library."""
    from lm_eval.api.registry import metric_registry

    if config.get("process_results"):
        return
    for one in config.get("metric_list") or []:
        name = one.get("metric")
        if not isinstance(name, str) or any(True for _ in function_files(name)):
            continue
        if one.get("hf_evaluate") is True or name not in metric_registry:
            yield name


def class_settings(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Settings of a task that is a Python class; None if only the class's code knows its data."""
    from lm_eval.tasks._yaml_loader import _import_fun_from_str

    try:
        kind = _import_fun_from_str(str(config["class"]))
    except (ImportError, AttributeError, ValueError):
        return None
    own = {
        "dataset_path": getattr(kind, "DATASET_PATH", None),
        "dataset_name": getattr(kind, "DATASET_NAME", None),
    }
    settings = {**own, **{key: value for key, value in config.items() if value is not None}}
    return settings if isinstance(settings["dataset_path"], str) else None


def data_set_of(config: Mapping[str, Any]) -> TaskDataSet | None:
    """The data set of a task; None for files on disk."""
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES as READERS

    path, name = config.get("dataset_path"), config.get("dataset_name")
    arguments = {
        key: value
        for key, value in (config.get("dataset_kwargs") or {}).items()
        if key != "trust_remote_code"
    }
    splits = tuple(dict.fromkeys(config[key] for key in SPLITS if isinstance(config.get(key), str)))
    if not isinstance(path, str) or Path(path).is_dir():
        return None
    if path not in READERS:
        return hub_data_set(path, name, arguments, splits)
    if any("://" in text for text in texts_in(arguments)):
        return TaskDataSet(path=path, name=name, arguments=arguments, splits=splits)
    return None


def texts_in(value: Any) -> Iterator[str]:
    """Every string in nested lists and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(item)


def hub_data_set(
    path: str, name: str | None, arguments: dict[str, Any], splits: tuple[str, ...]
) -> TaskDataSet:
    """A configuration of a hub data set, with the folder names that `datasets` uses."""
    from datasets import BuilderConfig
    from datasets.naming import camelcase_to_snakecase

    # Named as in datasets.load._find_hash_in_cache.
    for_id = {key: value for key, value in arguments.items() if key not in NON_BUILDER_ARGUMENTS}
    config_id = None
    if name or for_id:
        config_id = BuilderConfig(name or "default").create_config_id(config_kwargs=for_id)
    *owner, last = path.removeprefix("hf://datasets/").split("/")
    return TaskDataSet(
        path=path,
        name=name,
        arguments=arguments,
        folder="___".join([*owner, camelcase_to_snakecase(last)]),
        config_id=config_id,
        splits=() if "split" in arguments else splits,
    )


#: Arguments of `load_dataset` that are not passed to a builder.
NON_BUILDER_ARGUMENTS = frozenset(
    {"split", "cache_dir", "download_config", "download_mode", "verification_mode"}
    | {"keep_in_memory", "save_infos", "revision", "token", "streaming", "num_proc"}
    | {"storage_options"}
)


def main(folder: str, include_path: str, *tasks: str) -> None:
    """Write what each task reads into a file of a folder; an empty `include_path` means none."""
    own = include_path or None
    for found in read_tasks(make_task_manager(tasks, own), tasks, own):
        found.write(Path(folder, answer_name(found.task)))


if __name__ == "__main__":
    main(*sys.argv[1:])
