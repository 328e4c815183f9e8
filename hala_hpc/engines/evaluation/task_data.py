"""Find the data that lm-eval tasks read, and check that jobs without a network will find it."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hala_hpc.core.environment import data_folders
from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.core.hub_dependency import HubDependency
from hala_hpc.engines.evaluation.task_cache import (
    RECEIPT_FILE,
    Receipt,
    find_prepared_folder,
    folder_faults,
)
from hala_hpc.engines.evaluation.task_needs import TaskDataSet, TaskNeeds

TASK_DATA = "task data"
LANGUAGE_DATA = "language data"
METRIC = "metric"
#: Max configurations or files named in one line.
MAX_LISTED = 5
#: Where nltk looks besides NLTK_DATA, home folder and prefix of its interpreter (nltk 3.10).
NLTK_SYSTEM = tuple(
    Path(root, "nltk_data")
    for root in ("/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib")
)
#: Kinds of modules of the `evaluate` library, which are part of folder names.
METRIC_KINDS = ("metric", "comparison", "measurement")


def task_dependencies(
    needs: Iterable[TaskNeeds], environment: Mapping[str, str], python: str
) -> list[HubDependency]:
    """One dependency per data set, language data package and metric that the tasks read.

    `environment`: variables of the jobs; `python`: interpreter of the environment main.
    """
    listed = list(needs)
    data_sets: dict[str, list[TaskDataSet]] = {}
    for one in merge_data_sets(listed):
        data_sets.setdefault(one.path, []).append(one)
    folders = data_folders(environment)
    cache = Path(folders["HF_DATASETS_CACHE"]).expanduser()
    return [
        *(data_set_dependency(path, found, cache) for path, found in data_sets.items()),
        *(
            language_dependency(name, nltk_folders(folders["NLTK_DATA"], python))
            for name in language_data_of(listed)
        ),
        *(
            metric_dependency(name, Path(folders["HF_MODULES_CACHE"]).expanduser())
            for name in metrics_of(listed)
        ),
    ]


def merge_data_sets(needs: Iterable[TaskNeeds]) -> list[TaskDataSet]:
    """The distinct configurations that the tasks read, each with the splits of all tasks."""
    found: dict[str, TaskDataSet] = {}
    for one in (one for need in needs for one in need.data_sets):
        key = repr((one.path, one.name, one.arguments))
        before = found.get(key, one)
        splits = tuple(dict.fromkeys((*before.splits, *one.splits)))
        found[key] = one if splits == one.splits else one.model_copy(update={"splits": splits})
    return list(found.values())


def language_data_of(needs: Iterable[TaskNeeds]) -> list[str]:
    """Packages of nltk data that the tasks read."""
    return sorted({name for need in needs for name in need.language_data})


def metrics_of(needs: Iterable[TaskNeeds]) -> list[str]:
    """Metrics of the `evaluate` library that the tasks use."""
    return sorted({name for need in needs for name in need.metrics})


def data_set_dependency(
    path: str, configurations: Sequence[TaskDataSet], cache: Path
) -> HubDependency:
    """A data set in the datasets cache, with the faults of each configuration."""
    place = cache / configurations[0].folder
    problems: list[str] = []
    absent: list[TaskDataSet] = []
    commits: set[str] = set()
    # Usually nothing is there, or all: a plan must not search forty times in vain.
    exists = place.is_dir()
    for one in configurations:
        if not one.folder:
            problems.append("is a URL, which a job cannot read; name a file on disk")
            continue
        found = find_prepared_folder(one, cache) if exists else ""
        if isinstance(found, Path):
            problems += [describe_fault(one, fault) for fault in folder_faults(found, one)]
            commits.add(read_prepared_commit(found))
        elif found:
            problems.append(describe_fault(one, found))
        else:
            absent.append(one)
    if absent:
        problems.insert(0, describe_absent(absent, len(configurations), place))
    if exists and not os.access(cache, os.W_OK):
        problems.append(f"{cache} is not writable: datasets writes lock files there even to read")
    commit = commits.pop() if len(commits) == 1 else ""
    return HubDependency(TASK_DATA, path, place, commit, tuple(shorten_lines(problems)))


def read_prepared_commit(folder: Path) -> str:
    """Hub commit of a prepared configuration."""
    receipt = Receipt.read_if_valid(folder / RECEIPT_FILE)
    return receipt.commit if receipt else folder.name


def data_commits(needs: Iterable[TaskNeeds], environment: Mapping[str, str]) -> dict[str, str]:
    """Commit of each hub data set that the tasks read, by its name, if known."""
    dependencies = task_dependencies(needs, environment, sys.executable)
    return {one.name: one.commit for one in dependencies if one.kind == TASK_DATA and one.commit}


def describe_fault(data_set: TaskDataSet, fault: str) -> str:
    """Name the configuration before a fault: `configuration ar is not in /cache`."""
    return f"configuration {data_set.name} {fault}" if data_set.name else fault


def describe_absent(absent: Sequence[TaskDataSet], of: int, place: Path) -> str:
    """Describe which of the configurations that the tasks read are missing."""
    names = [one.name for one in absent if one.name]
    if not names:
        return f"is not in {place}"
    listing = ", ".join(shorten_lines(names))
    if of == len(absent) == 1:
        return f"configuration {listing} is not in {place}"
    return f"{len(absent)} of {of} configurations are not in {place}: {listing}"


def shorten_lines(lines: Sequence[str]) -> list[str]:
    """The first lines, and the number of the others."""
    more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED + 1 else []
    return list(lines[:MAX_LISTED] if more else lines) + more


def language_dependency(package: str, folders: Sequence[Path]) -> HubDependency:
    """A package of nltk data, unpacked or as the zip archive that nltk reads as well."""
    places = [folder for folder in folders if has_nltk_package(package, folder)]
    if places:
        return HubDependency(LANGUAGE_DATA, f"nltk {package}", places[0])
    problem = f"is not in {folders[0]} (NLTK_DATA), nor in other folders that nltk searches"
    return HubDependency(LANGUAGE_DATA, f"nltk {package}", folders[0], problems=(problem,))


def has_nltk_package(package: str, folder: Path) -> bool:
    """Whether a folder of nltk data holds a package: `<kind>/<package>`, or with `.zip`."""
    try:
        kinds = [kind for kind in folder.iterdir() if kind.is_dir()]
    except OSError:
        return False
    return any((kind / package).is_dir() or (kind / f"{package}.zip").is_file() for kind in kinds)


def nltk_folders(variable: str, python: str) -> list[Path]:
    """Folders that the nltk of an interpreter searches, in order; fetch writes into the first."""
    prefix = Path(python).parent.parent
    inside = [prefix / "nltk_data", prefix / "share/nltk_data", prefix / "lib/nltk_data"]
    given = [Path(one).expanduser() for one in variable.split(os.pathsep) if one]
    return [*given, Path("~/nltk_data").expanduser(), *inside, *NLTK_SYSTEM]


def metric_dependency(name: str, modules: Path) -> HubDependency:
    """The code of a metric in the offline cache of the `evaluate` library."""
    owned = name.replace("/", "--")
    names = [owned] if "/" in name else [f"evaluate-{kind}--{name}" for kind in METRIC_KINDS]
    for folder in (modules / "evaluate_modules" / "metrics" / one for one in names):
        if any(folder.glob(f"*/{name.rpartition('/')[2]}.py")):
            return HubDependency(METRIC, name, folder)
    place = modules / "evaluate_modules" / "metrics" / names[0]
    return HubDependency(METRIC, name, place, problems=(f"its code is not in {place}",))


def require_task_data(needs: Iterable[TaskNeeds], environment: Mapping[str, str]) -> None:
    """Check that jobs without a network find all data of the tasks.

    Raises: UserError (NO_INPUT) naming all that is missing.
    """
    broken = [
        one for one in task_dependencies(needs, environment, sys.executable) if not one.is_complete
    ]
    if broken:
        fix = "run `python -m hala_hpc.fetch` on a login node, with the overrides of the launch"
        raise UserError([f"tasks: {dependency.message}; {fix}" for dependency in broken], NO_INPUT)
