"""Check the Python environments of a run, with their own interpreters."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from hala_hpc.commands.planning.environment_check import (
    CPU_BUILD_FIX,
    EnvironmentNeed,
    find_unfit_environments,
)
from hala_hpc.core.builds import find_torch_build, lacks_job_libraries
from hala_hpc.core.errors import UserError
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.record import JsonRecord
from hala_hpc.doctor.findings import Finding

#: Time limits in seconds: the first start of an interpreter is slow on a cold file system.
CHEAP_LIMIT_S, IMPORT_LIMIT_S = 60, 240
#: Run by the interpreter of an environment: lists required packages that are missing or have
#: another version. Reads metadata only, imports none of them.
PACKAGES_SCRIPT = """
import importlib.metadata as known, importlib.util, json, platform, sys
from packaging.requirements import Requirement
wrong = []
try:
    required = known.requires("hala-hpc") or []
except known.PackageNotFoundError:
    # An image has the libraries only.
    required = []
for line in required:
    asked = Requirement(line)
    if asked.marker and not asked.marker.evaluate({"extra": sys.argv[1]}):
        continue
    try:
        version = known.version(asked.name)
    except known.PackageNotFoundError:
        # A build for another device has another name, e.g. that of vLLM for CPUs.
        if importlib.util.find_spec(asked.name.replace("-", "_")) is None:
            wrong.append(f"{asked.name} is missing")
        continue
    if not asked.specifier.contains(version, prereleases=True):
        wrong.append(f"{asked.name} is {version}, not {asked.specifier}")
try:
    locked = open(sys.prefix + "/.hala-lock.txt").read().splitlines()
except OSError:
    locked = []
for line in locked:
    # Other lines are hashes and options. A package may have a line for each version of Python.
    if not line[:1].isalnum():
        continue
    asked = Requirement(line.rstrip("\\\\ "))
    if asked.marker and not asked.marker.evaluate():
        continue
    [wanted] = asked.specifier
    try:
        found = known.version(asked.name)
    except known.PackageNotFoundError:
        wrong.append(f"{asked.name} is missing")
        continue
    if found != wanted.version:
        wrong.append(f"{asked.name} is {found}, locked is {wanted.version}")
import hala_hpc.worker
print(json.dumps({"python": platform.python_version(), "wrong": wrong}))
"""
#: Packages that a job of an environment imports first, which takes seconds.
HEAVY = {"main": ("torch", "vllm", "transformers"), "quantize": ("torch", "llmcompressor")}
ENVIRONMENT_FIX = "run `make env`, or set a complete one in the launcher: [python]"
#: Fix if an interpreter returns no result.
NO_PYTHON = "the program may not be an interpreter of this project"
Answer = TypeVar("Answer", bound=JsonRecord)


class PackagesAnswer(JsonRecord):
    """Result of the check of an environment's packages."""

    fix: ClassVar[str] = NO_PYTHON

    python: str
    """Version of Python."""
    wrong: tuple[str, ...]
    """One line for each package that is missing or has another version than required."""


class ImportAnswer(JsonRecord):
    """Result of importing the packages that jobs import first."""

    fix: ClassVar[str] = NO_PYTHON

    gpus: int
    """Number of GPUs that torch sees."""


def environment_findings(launcher: Launcher, needs: Sequence[EnvironmentNeed]) -> list[Finding]:
    """One finding for each environment: whether it exists, starts and has the required packages;
    and one for each whose build does not fit the resources of its jobs or runs no job.
    """
    if launcher.interpreter.is_container:
        return image_findings(launcher)
    envs = {need.env for need in needs} | {"main"}
    absent = {env: launcher.python_problems({env}) for env in envs}
    unfit = [
        Finding("environments", "error", one.description, one.reason, one.fix)
        for one in find_unfit_environments(launcher, needs)
    ]
    light = {
        env for env in envs if not absent[env] and lacks_job_libraries(launcher.python_of(env))
    }
    return unfit + [
        absence(texts[0]) if texts else check_packages(env, launcher.python_of(env))
        for env, texts in sorted(absent.items())
        if env not in light
    ]


def image_findings(launcher: Launcher) -> list[Finding]:
    """Findings about an image and the interpreter of the gates outside of it."""
    image = launcher.interpreter.image
    found = [
        Finding("environments", "error", text, "its jobs could not start", "build the image")
        for text in launcher.interpreter.problems()
    ]
    if not found:
        what = f"image {image}: jobs run in it, gates with {launcher.gate_python} outside"
        found.append(Finding("environments", "good", what, "job=true starts it on a node"))
    if not Path(launcher.gate_python).exists():
        what = f"the interpreter of the gates, {launcher.gate_python}, does not exist"
        fix = "name one in the launcher: [python] gate = ..."
        found.append(Finding("environments", "error", what, "no node could be closed", fix))
    return found


def absence(text: str) -> Finding:
    """Finding for a missing environment."""
    return Finding("environments", "error", text, "its jobs could not start", ENVIRONMENT_FIX)


def check_packages(env: str, python: str) -> Finding:
    """Check the packages of an environment with its interpreter."""
    result = query_interpreter(PackagesAnswer, [python, "-c", PACKAGES_SCRIPT, env], CHEAP_LIMIT_S)
    name = f"environment {env} ({python})"
    if isinstance(result, str):
        return Finding(
            "environments",
            "error",
            f"{name}: {result}",
            "its jobs could not start",
            ENVIRONMENT_FIX,
        )
    if result.wrong:
        what = f"{name}: {'; '.join(result.wrong)}"
        why = "jobs would fail when they import it, or give other results than were tested"
        return Finding("environments", "error", what, why, ENVIRONMENT_FIX)
    what = f"{name}: Python {result.python}, all packages as required"
    return Finding("environments", "good", what, "its jobs start")


def check_imports(env: str, python: str, gpus: int = 0) -> Finding:
    """Import the packages that a job imports first; on a compute node, as it takes 30 s.

    `gpus`: number that torch must see there; 0 if none are requested, or CPUs are intended.
    """
    names = HEAVY.get(env, ())
    code = (
        f"import json, {', '.join(names)}; print(json.dumps({{'gpus': torch.cuda.device_count()}}))"
    )
    result = query_interpreter(ImportAnswer, [python, "-c", code], IMPORT_LIMIT_S)
    name = f"environment {env}: import {', '.join(names)}"
    if isinstance(result, str):
        why = "its jobs would fail in the same way"
        return Finding("environments", "error", f"{name}: {result}", why, ENVIRONMENT_FIX)
    what = f"{name} works; torch sees {result.gpus} GPUs"
    if result.gpus < gpus:
        build = find_torch_build(python)
        on_cpus = build is not None and build.device == "cpu"
        why = f"its jobs request {gpus} and would fail, or run on CPUs"
        fix = CPU_BUILD_FIX if on_cpus else "see `nvidia-smi` in such a job; ask the admins"
        return Finding("environments", "error", what, why, fix)
    return Finding("environments", "good", what, "jobs start")


def query_interpreter(kind: type[Answer], argv: list[str], limit_s: int) -> Answer | str:
    """Run a program and parse its last line as a record; the error as text if there is none."""
    try:
        done = subprocess.run(
            argv,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {limit_s} s: its file system is slow"
    except OSError as error:
        return f"it cannot be run: {error.strerror}"
    if done.returncode == 0 and done.stdout.strip():
        try:
            return kind.from_json(done.stdout.splitlines()[-1], "its output")
        except UserError as error:
            return str(error)
    errors = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return errors[-1]
