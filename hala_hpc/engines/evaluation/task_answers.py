"""Cache of what tasks read: a login node runs the lm-eval of an environment once per task.

One run takes 30 s, as lm-eval reads 14,000 files. The answers for the tasks of the shipped recipes
are part of this package.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.fingerprint import compute_fingerprint, fingerprint_path
from hala_hpc.core.hub_dependency import HubSite
from hala_hpc.engines.evaluation.task_groups import OWN_TASKS
from hala_hpc.engines.evaluation.task_needs import TaskNeeds, TaskRequest, answer_name

#: Answers for our groups and the tasks of our recipes, written by
#: `hala_hpc.engines.evaluation.task_reader`.
SHIPPED = Path(__file__).with_name("known_tasks")
#: Timeout for reading all task files of lm-eval on a cold, busy shared file system.
ANSWER_LIMIT_S = 900
#: Incremented when the same task files give a different answer.
FORMAT_VERSION = 2


class MissingEnvironment(UserError):
    """The environment main, whose lm-eval reads the task files, does not exist."""


def find_task_needs(request: TaskRequest, site: HubSite) -> list[TaskNeeds]:
    """Find what each task of a request reads, from the cache or with lm-eval.

    Raises: UserError (CONFIG) if a task is unknown or lm-eval fails; MissingEnvironment if the
    answer is not cached and the interpreter does not exist.
    """
    known = read_cached_answers(request, site)
    unknown = tuple(task for task in request.tasks if task not in known)
    if unknown:
        rest = replace(request, tasks=unknown)
        known |= {one.task: one for one in query_lm_eval(rest, site.python)}
        cache_answers(known, request, site)
    found = [known[task] for task in request.tasks]
    if problems := [f"tasks: {one.problem}" for one in found if one.problem]:
        raise UserError(problems, CONFIG)
    return found


def read_cached_answers(request: TaskRequest, site: HubSite) -> dict[str, TaskNeeds]:
    """Cached answers by task, only those for the lm-eval version of the environment."""
    version = lm_eval_version(site.python)
    # An environment not yet set up will have the version that this package requires.
    may_differ = Path(site.python).exists()
    folder = answer_cache_folder(request, site, version) if version else None
    found: dict[str, TaskNeeds] = {}
    for task in request.tasks:
        # A folder of task files may hold a different task with this name.
        shipped = shipped_answer(task) if request.include_path is None else None
        if shipped and (shipped.lm_eval == version or not may_differ):
            found[task] = shipped
        elif folder and (cached := TaskNeeds.read_if_valid(folder / answer_name(task))):
            found[task] = cached
    return found


@cache
def shipped_answer(task: str) -> TaskNeeds | None:
    """The answer shipped with this package; None for tasks that no shipped recipe uses."""
    return TaskNeeds.read(SHIPPED / answer_name(task))


def cache_answers(known: Mapping[str, TaskNeeds], request: TaskRequest, site: HubSite) -> None:
    """Write the answers of lm-eval, also those for unknown tasks."""
    version = lm_eval_version(site.python)
    if version is None:
        return
    folder = answer_cache_folder(request, site, version)
    for task in request.tasks:
        try:
            known[task].write(folder / answer_name(task))
        except OSError:
            return  # the next call runs lm-eval again


def answer_cache_folder(request: TaskRequest, site: HubSite, version: str) -> Path:
    """The user's cache folder for this lm-eval version, interpreter and task files."""
    cache = site.environment.get("XDG_CACHE_HOME") or "~/.cache"
    folder = request.include_path
    own = [folder, fingerprint_path(Path(folder))] if folder else []
    groups = fingerprint_path(OWN_TASKS)
    key = compute_fingerprint([FORMAT_VERSION, version, site.python, groups, *own])
    return Path(cache).expanduser() / "hala_hpc" / "tasks" / key


@cache
def lm_eval_version(python: str) -> str | None:
    """Version of an interpreter's lm-eval, from the name of a folder; None if unknown."""
    prefix = Path(python).parent.parent
    for folder in prefix.glob("lib/python3*/site-packages/lm_eval-*.dist-info"):
        return folder.name.removeprefix("lm_eval-").removesuffix(".dist-info")
    return None


def query_lm_eval(request: TaskRequest, python: str) -> Sequence[TaskNeeds]:
    """Run task_reader in the environment main, in a subprocess without a network.

    Raises: UserError (CONFIG) if it fails; MissingEnvironment if there is no interpreter.
    """
    import subprocess
    import tempfile

    names = ", ".join(request.tasks)
    if not Path(python).exists():
        raise MissingEnvironment(
            f"tasks: {names}: what they read is unknown: the environment 'main' is not set "
            f"up: {python} does not exist; run `make env`, or set it in the launcher: "
            "[python] main = ...",
            CONFIG,
        )
    command = [python, "-m", "hala_hpc.engines.evaluation.task_reader"]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "USE_TF": "0"}
    with tempfile.TemporaryDirectory(prefix="hala-tasks-") as folder:
        try:
            done = subprocess.run(
                [*command, folder, request.include_path or "", *request.tasks],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ANSWER_LIMIT_S,
                env=os.environ | offline,
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"tasks: {names}: {python} did not answer within {ANSWER_LIMIT_S} s, as its "
                "file system is slow; run the same command again",
                CONFIG,
            ) from None
        if done.returncode == 0:
            answers = [TaskNeeds.read(Path(folder, answer_name(task))) for task in request.tasks]
            return [one for one in answers if one is not None]
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise UserError(
        f"tasks: {names}: lm-eval of {python} cannot read these tasks: {last}; run `make env`",
        CONFIG,
    )
