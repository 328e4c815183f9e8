"""Fetch the data of lm-eval tasks for jobs without a network, and open it as jobs do."""

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.environment import data_folders
from hala_hpc.core.errors import CANNOT_CREATE, NO_INPUT, UNAVAILABLE, UserError
from hala_hpc.engines.evaluation.task_cache import (
    RECEIPT_FILE,
    Receipt,
    content_faults,
    find_prepared_folder,
    folder_faults,
    list_arrow_files,
    read_dataset_info,
    unfinished_folders,
)
from hala_hpc.engines.evaluation.task_data import (
    language_data_of,
    language_dependency,
    merge_data_sets,
    metric_dependency,
    metrics_of,
    nltk_folders,
)
from hala_hpc.engines.evaluation.task_needs import TaskDataSet, TaskNeeds

logger = logging.getLogger(__name__)


def fetch_task_data(
    needs: Iterable[TaskNeeds], python: str, print_line: Callable[[str], None]
) -> None:
    """Fetch missing or incomplete data into the cache folders of this process's environment.

    `python`: interpreter of the jobs. Data fetched before an error stays.

    Raises: UserError (NO_INPUT) for what the hub or a task does not have; UserError (UNAVAILABLE)
    if the network fails.
    """
    listed = list(needs)
    folders = data_folders(os.environ)
    os.environ.update(folders)
    cache = Path(folders["HF_DATASETS_CACHE"]).expanduser()
    for data_set in merge_data_sets(listed):
        if data_set.folder and data_set_faults(data_set, cache):
            print_line(f"task data {data_set.description}")
            fetch_data_set(data_set, cache)
    places = nltk_folders(folders["NLTK_DATA"], python)
    for package in language_data_of(listed):
        if not language_dependency(package, places).is_complete:
            print_line(f"language data nltk {package}")
            fetch_language_data(package, places)
    modules = Path(folders["HF_MODULES_CACHE"]).expanduser()
    for name in metrics_of(listed):
        if not metric_dependency(name, modules).is_complete:
            print_line(f"metric {name}")
            fetch_metric(name)


def data_set_faults(data_set: TaskDataSet, cache: Path) -> list[str]:
    """Why a job without a network cannot read a configuration; empty if it can."""
    found = find_prepared_folder(data_set, cache)
    if isinstance(found, Path):
        return list(folder_faults(found, data_set))
    return [found or f"is not in {cache / data_set.folder}"]


def fetch_data_set(data_set: TaskDataSet, cache: Path) -> None:
    """Let `datasets` prepare a configuration, as lm-eval does, and write a receipt."""
    found = find_prepared_folder(data_set, cache)
    for folder in [found] if isinstance(found, Path) else unfinished_folders(data_set, cache):
        # datasets does not repair an existing folder.
        shutil.rmtree(folder)
    load_data_set(data_set)
    found = find_prepared_folder(data_set, cache)
    if isinstance(found, Path) and not (faults := list(folder_faults(found, data_set))):
        write_receipt(found)
        return
    reason = found if isinstance(found, str) else "; ".join(faults)
    raise UserError(
        f"task data {data_set.description}: loaded, but an offline job would not find it: "
        f"{reason or 'then datasets looks for arguments such as data_files under another name'}; "
        "use your own task (include_path) whose dataset_path is a folder on disk",
        NO_INPUT,
    )


def load_data_set(data_set: TaskDataSet) -> None:
    """Call `datasets.load_dataset` with the arguments of the task.

    Raises: UserError as fetch_task_data.
    """
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        datasets.load_dataset(path=data_set.path, name=data_set.name, **data_set.arguments)
    except (DatasetsError, ValueError) as error:
        raise UserError(
            f"task data {data_set.description}: {format_one_line(error)}", NO_INPUT
        ) from error
    except OSError as error:
        if error.filename is not None:
            # The disk and not the network failed: permissions or free space.
            lines = convert_os_error(error).mistakes
            mistakes = [f"task data {data_set.description}: {line}" for line in lines]
            raise UserError(mistakes, CANNOT_CREATE) from error
        raise UserError(
            f"task data {data_set.description}: {format_one_line(error)}; "
            "run the same command again to resume",
            UNAVAILABLE,
        ) from error


def format_one_line(error: BaseException) -> str:
    """The message of a library's error without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def write_receipt(folder: Path) -> None:
    """Write sizes and digests of a complete configuration; this makes its folder the newest."""
    from hala_hpc.core.file_facts import compute_file_digests

    info = read_dataset_info(folder)
    assert info is not None, folder
    names = list(list_arrow_files(info))
    sizes = {name: (folder / name).stat().st_size for name in names}
    digests = compute_file_digests(folder, names)
    Receipt(commit=folder.name, sizes=sizes, sha256=digests).write(folder / RECEIPT_FILE)


def fetch_language_data(package: str, folders: Sequence[Path]) -> None:
    """Let nltk download a package into the first of its folders.

    Raises: UserError (UNAVAILABLE) if it fails.
    """
    import nltk

    folders[0].mkdir(parents=True, exist_ok=True)
    try:
        nltk.download(package, download_dir=str(folders[0]), quiet=True, raise_on_error=True)
    except (OSError, ValueError) as error:
        raise UserError(
            f"language data nltk {package}: {format_one_line(error)}; unpack {package}.zip of "
            f"nltk_data under {folders[0]}, in the folder of its kind, for example tokenizers",
            UNAVAILABLE,
        ) from error


def fetch_metric(name: str) -> None:
    """Let `evaluate` load a metric, as the task does: this runs code from the hub.

    Raises: UserError (UNAVAILABLE) if it fails.
    """
    import evaluate

    try:
        evaluate.load(name)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"metric {name}: {format_one_line(error)}", UNAVAILABLE) from error


def open_tasks(manager: Any, needs: Sequence[TaskNeeds]) -> list[str]:
    """Open tasks with lm-eval's TaskManager, as an evaluation does; a line per failed task."""
    mistakes = []
    for need in needs:
        try:
            manager.load([need.task])
        # The code of a task may raise anything.
        except Exception as error:
            logger.info("task %s", need.task, exc_info=error)
            message = f"{type(error).__name__}: {format_one_line(error)}"
            mistakes.append(f"tasks: {need.task} cannot be opened without a network: {message}")
    return mistakes


def find_changed_task_files(needs: Iterable[TaskNeeds]) -> list[str]:
    """Read all data files; a line for each whose content is not what was fetched."""
    cache = Path(data_folders(os.environ)["HF_DATASETS_CACHE"]).expanduser()
    mistakes = []
    for data_set in merge_data_sets(needs):
        found = find_prepared_folder(data_set, cache) if data_set.folder else ""
        if isinstance(found, Path):
            mistakes += [
                f"tasks: {data_set.description}: {fault}" for fault in content_faults(found)
            ]
    return mistakes
