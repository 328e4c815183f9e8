"""Answers of an environment's lm-eval, kept: a login node asks once for each task.

Asking takes half a minute, as lm-eval reads 14,000 files. What the tasks of the shipped recipes
read comes with this package.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.fingerprint import compute_fingerprint, fingerprint_path
from hala_hpc.core.hub_dependency import HubSite
from hala_hpc.engines.evaluation.task_needs import TaskNeeds, TaskRequest, answer_name

#: Answers for the tasks of our recipes, made by `hala_hpc.engines.evaluation.task_reader`.
SHIPPED = Path(__file__).with_name("known_tasks")
#: Reading all task files of lm-eval on a cold file system that serves many.
ANSWER_LIMIT_S = 900
#: Raised when the same task files give another answer.
FORMAT_VERSION = 1


class MissingEnvironment(UserError):
    """Nobody can be asked: the environment main is not there."""


def find_task_needs(request: TaskRequest, site: HubSite) -> list[TaskNeeds]:
    """What each task of a request reads, from what is kept or from lm-eval itself.

    Raises UserError (78) where a task is unknown, or lm-eval does not answer; MissingEnvironment where
    nothing is kept and there is no interpreter to be asked.
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
    """What is known already, by task; only of the lm-eval that the environment has."""
    version = lm_eval_version(site.python)
    # Where nothing is set up yet it will be the version that this package asks for.
    may_differ = Path(site.python).exists()
    folder = answer_cache_folder(request, site, version) if version else None
    found: dict[str, TaskNeeds] = {}
    for task in request.tasks:
        # A folder of task files may hold another task of the name.
        shipped = shipped_answer(task) if request.include_path is None else None
        if shipped and (shipped.lm_eval == version or not may_differ):
            found[task] = shipped
        elif folder and (cached := TaskNeeds.read_if_valid(folder / answer_name(task))):
            found[task] = cached
    return found


@cache
def shipped_answer(task: str) -> TaskNeeds | None:
    """What a task reads as it comes with this package; None for one that no recipe of ours has."""
    return TaskNeeds.read(SHIPPED / answer_name(task))


def cache_answers(known: Mapping[str, TaskNeeds], request: TaskRequest, site: HubSite) -> None:
    """Write down what lm-eval said, also of tasks that it does not know."""
    version = lm_eval_version(site.python)
    if version is None:
        return
    folder = answer_cache_folder(request, site, version)
    for task in request.tasks:
        try:
            known[task].write(folder / answer_name(task))
        except OSError:
            return  # it is asked again then


def answer_cache_folder(request: TaskRequest, site: HubSite, version: str) -> Path:
    """Where answers are kept: a folder of the user for lm-eval, interpreter and task files."""
    cache = site.environment.get("XDG_CACHE_HOME") or "~/.cache"
    folder = request.include_path
    own = [folder, fingerprint_path(Path(folder))] if folder else []
    key = compute_fingerprint([FORMAT_VERSION, version, site.python, *own])
    return Path(cache).expanduser() / "hala_hpc" / "tasks" / key


@cache
def lm_eval_version(python: str) -> str | None:
    """Version of lm-eval beside an interpreter, by the name of a folder; None if unknown."""
    prefix = Path(python).parent.parent
    for folder in prefix.glob("lib/python3*/site-packages/lm_eval-*.dist-info"):
        return folder.name.removeprefix("lm_eval-").removesuffix(".dist-info")
    return None


def query_lm_eval(request: TaskRequest, python: str) -> Sequence[TaskNeeds]:
    """Let lm-eval in the environment main answer, in a process of its own, without a network."""
    import subprocess
    import tempfile

    names = ", ".join(request.tasks)
    if not Path(python).exists():
        raise MissingEnvironment(
            f"tasks: {names}: what they read is not known, as the environment 'main' is not set "
            f"up: {python} does not exist; run `make env`, or name it in the launcher: "
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
                f"tasks: {names}: {python} gave no answer in {ANSWER_LIMIT_S} s: the file system "
                "that it lies on is slow; give the line again",
                CONFIG,
            ) from None
        if done.returncode == 0:
            answers = [TaskNeeds.read(Path(folder, answer_name(task))) for task in request.tasks]
            return [one for one in answers if one is not None]
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
    raise UserError(
        f"tasks: {names}: lm-eval of {python} cannot tell what they read: {last}; run `make env`",
        CONFIG,
    )
