"""What the tasks of an evaluation read, and whether it lies where a job without a network looks."""

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
#: Configurations or files that one line names.
MAX_LISTED = 5
#: Where nltk looks beside NLTK_DATA, the home folder and its interpreter (nltk.data, version 3.10).
NLTK_SYSTEM = tuple(
    Path(root, "nltk_data")
    for root in ("/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib")
)
#: Folders of modules of the `evaluate` library, by what it calls them.
METRIC_KINDS = ("metric", "comparison", "measurement")


def task_dependencies(
    needs: Iterable[TaskNeeds], environment: Mapping[str, str], python: str
) -> list[HubDependency]:
    """A piece for each data set, package of language data and metric that some tasks read.

    `environment`: variables as the jobs have them; `python`: interpreter of the environment main.
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
    """Every configuration that some tasks read, once, with the splits of all of them."""
    found: dict[str, TaskDataSet] = {}
    for one in (one for need in needs for one in need.data_sets):
        key = repr((one.path, one.name, one.arguments))
        before = found.get(key, one)
        splits = tuple(dict.fromkeys((*before.splits, *one.splits)))
        found[key] = one if splits == one.splits else one.model_copy(update={"splits": splits})
    return list(found.values())


def language_data_of(needs: Iterable[TaskNeeds]) -> list[str]:
    """Packages of nltk's data that some tasks read."""
    return sorted({name for need in needs for name in need.language_data})


def metrics_of(needs: Iterable[TaskNeeds]) -> list[str]:
    """Metrics of the `evaluate` library that some tasks use."""
    return sorted({name for need in needs for name in need.metrics})


def data_set_dependency(
    path: str, configurations: Sequence[TaskDataSet], cache: Path
) -> HubDependency:
    """A data set in the datasets cache, with what is wrong with each configuration."""
    place = cache / configurations[0].folder
    problems: list[str] = []
    absent: list[TaskDataSet] = []
    commits: set[str] = set()
    # Most often nothing is there, or all: a plan must not look forty times for nothing.
    is_begun = place.is_dir()
    for one in configurations:
        if not one.folder:
            problems.append("is an address: a job cannot read it; name a file that is on the disk")
            continue
        found = find_prepared_folder(one, cache) if is_begun else ""
        if isinstance(found, Path):
            problems += [describe_fault(one, fault) for fault in folder_faults(found, one)]
            commits.add(read_prepared_commit(found))
        elif found:
            problems.append(describe_fault(one, found))
        else:
            absent.append(one)
    if absent:
        problems.insert(0, describe_absent(absent, len(configurations), place))
    if is_begun and not os.access(cache, os.W_OK):
        problems.append(f"{cache} is closed for writing: datasets writes locks there, also to read")
    commit = commits.pop() if len(commits) == 1 else ""
    return HubDependency(TASK_DATA, path, place, commit, tuple(shorten_lines(problems)))


def read_prepared_commit(folder: Path) -> str:
    """Commit of the hub that a prepared configuration was made from."""
    receipt = Receipt.read_if_valid(folder / RECEIPT_FILE)
    return receipt.commit if receipt else folder.name


def data_commits(needs: Iterable[TaskNeeds], environment: Mapping[str, str]) -> dict[str, str]:
    """Commit of each data set of the hub that some tasks read, by its name, where it is known."""
    dependencies = task_dependencies(needs, environment, sys.executable)
    return {one.name: one.commit for one in dependencies if one.kind == TASK_DATA and one.commit}


def describe_fault(data_set: TaskDataSet, fault: str) -> str:
    """`configuration ar is not in /cache`."""
    return f"configuration {data_set.name} {fault}" if data_set.name else fault


def describe_absent(absent: Sequence[TaskDataSet], of: int, place: Path) -> str:
    """Which of the configurations that tasks read are not there."""
    names = [one.name for one in absent if one.name]
    if not names:
        return f"is not in {place}"
    listing = ", ".join(shorten_lines(names))
    if of == len(absent) == 1:
        return f"configuration {listing} is not in {place}"
    return f"{len(absent)} of {of} configurations are not in {place}: {listing}"


def shorten_lines(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED + 1 else []
    return list(lines[:MAX_LISTED] if more else lines) + more


def language_dependency(package: str, folders: Sequence[Path]) -> HubDependency:
    """A package of nltk's data, unpacked or as the archive that nltk reads as well."""
    places = [folder for folder in folders if has_nltk_package(package, folder)]
    if places:
        return HubDependency(LANGUAGE_DATA, f"nltk {package}", places[0])
    problem = f"is not in {folders[0]} (NLTK_DATA), nor where nltk looks else"
    return HubDependency(LANGUAGE_DATA, f"nltk {package}", folders[0], problems=(problem,))


def has_nltk_package(package: str, folder: Path) -> bool:
    """Whether a folder of nltk's data holds a package: `<kind>/<package>`, or with `.zip`."""
    try:
        kinds = [kind for kind in folder.iterdir() if kind.is_dir()]
    except OSError:
        return False
    return any((kind / package).is_dir() or (kind / f"{package}.zip").is_file() for kind in kinds)


def nltk_folders(variable: str, python: str) -> list[Path]:
    """Where the nltk of an interpreter looks, in its order; the first is for what is fetched."""
    prefix = Path(python).parent.parent
    inside = [prefix / "nltk_data", prefix / "share/nltk_data", prefix / "lib/nltk_data"]
    given = [Path(one).expanduser() for one in variable.split(os.pathsep) if one]
    return [*given, Path("~/nltk_data").expanduser(), *inside, *NLTK_SYSTEM]


def metric_dependency(name: str, modules: Path) -> HubDependency:
    """The code of a metric, as the `evaluate` library keeps it to be found without a network."""
    owned = name.replace("/", "--")
    names = [owned] if "/" in name else [f"evaluate-{kind}--{name}" for kind in METRIC_KINDS]
    for folder in (modules / "evaluate_modules" / "metrics" / one for one in names):
        if any(folder.glob(f"*/{name.rpartition('/')[2]}.py")):
            return HubDependency(METRIC, name, folder)
    place = modules / "evaluate_modules" / "metrics" / names[0]
    return HubDependency(METRIC, name, place, problems=(f"its code is not in {place}",))


def require_task_data(needs: Iterable[TaskNeeds], environment: Mapping[str, str]) -> None:
    """Raise UserError (66) for all that tasks read and that a job without a network would miss."""
    broken = [
        one for one in task_dependencies(needs, environment, sys.executable) if not one.is_complete
    ]
    if broken:
        fix = "fetch it on a login node: `python -m hala_hpc.fetch` with the words of the launch"
        raise UserError([f"tasks: {dependency.message}; {fix}" for dependency in broken], NO_INPUT)
