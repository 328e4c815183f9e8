"""Whether the environments of a run are whole: told by their own interpreters."""

import json
import subprocess
from collections.abc import Iterable
from typing import Any

from hala_hpc.core.launcher import Launcher
from hala_hpc.doctor.findings import Finding

#: A cold file system needs its time for the first start of an interpreter.
CHEAP_LIMIT_S, IMPORT_LIMIT_S = 60, 240
#: Run by the interpreter of an environment: packages that the project asks for there and that are
#: absent or of another version. Names only; nothing is imported.
LOOK = """
import importlib.metadata as known, importlib.util, json, platform, sys
from packaging.requirements import Requirement
wrong = []
for line in known.requires("hala-hpc") or []:
    asked = Requirement(line)
    if asked.marker and not asked.marker.evaluate({"extra": sys.argv[1]}):
        continue
    try:
        version = known.version(asked.name)
    except known.PackageNotFoundError:
        # A build for another device goes by another name, e.g. that of vLLM for CPUs.
        if importlib.util.find_spec(asked.name.replace("-", "_")) is None:
            wrong.append(f"{asked.name} is missing")
        continue
    if not asked.specifier.contains(version, prereleases=True):
        wrong.append(f"{asked.name} is {version}, not {asked.specifier}")
import hala_hpc.worker
print(json.dumps({"python": platform.python_version(), "wrong": wrong}))
"""
#: What a job of an environment imports first; it takes seconds.
HEAVY = {"main": ("torch", "vllm", "transformers"), "quantize": ("torch", "llmcompressor")}
CURE = "run `make env`, or name a whole one in the launcher: [python]"


def environment_findings(launcher: Launcher, envs: Iterable[str]) -> list[Finding]:
    """A line for each environment: is it there, does it start, has it what the project asks."""
    absent = {env: launcher.python_problems({env}) for env in envs}
    return [
        absence(texts[0]) if texts else health(env, launcher.python_of(env))
        for env, texts in sorted(absent.items())
    ]


def absence(text: str) -> Finding:
    """An environment that is not there."""
    return Finding("environments", "bad", text, "its jobs could not start", CURE)


def health(env: str, python: str) -> Finding:
    """What an interpreter says of its packages."""
    told, fault = answer([python, "-c", LOOK, env], CHEAP_LIMIT_S)
    name = f"environment {env} ({python})"
    if fault:
        return Finding("environments", "bad", f"{name}: {fault}", "its jobs could not start", CURE)
    wrong = told["wrong"]
    if wrong:
        what = f"{name}: {'; '.join(wrong)}"
        why = "jobs would end when they import it, or compute something else than was tested"
        return Finding("environments", "bad", what, why, CURE)
    what = f"{name}: Python {told['python']}, every package as asked for"
    return Finding("environments", "good", what, "its jobs start")


def imports(env: str, python: str) -> Finding:
    """Import what a job imports first; for a compute node, as it takes half a minute."""
    names = HEAVY.get(env, ())
    code = f"import json, {', '.join(names)}; print(json.dumps(torch.cuda.device_count()))"
    told, fault = answer([python, "-c", code], IMPORT_LIMIT_S)
    name = f"environment {env}: import {', '.join(names)}"
    if fault:
        why = "its jobs would end in the same way"
        return Finding("environments", "bad", f"{name}: {fault}", why, CURE)
    return Finding("environments", "good", f"{name} works; torch sees {told} GPUs", "jobs start")


def answer(words: list[str], limit_s: int) -> tuple[Any, str]:
    """The JSON that a program prints last, and in words why it printed none."""
    try:
        done = subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer in {limit_s} s: the file system that it lies on is slow"
    except OSError as error:
        return None, f"it cannot be run: {error.strerror}"
    if done.returncode == 0 and done.stdout.strip():
        return json.loads(done.stdout.splitlines()[-1]), ""
    errors = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
    return None, errors[-1]
