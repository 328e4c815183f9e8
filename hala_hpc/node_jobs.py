"""The jobs of a node: its array of workers and its gate, and what both must be told."""

from pathlib import Path
from typing import Any

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.job import Job
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import StageSettings
from hala_hpc.engines.job_environment import JOB_ENVIRONMENT

#: Most letters of a job's name.
NAME_LETTERS = 64


def make_spec(launcher: Launcher, settings: StageSettings, env: str, commit: str) -> dict[str, Any]:
    """What the jobs of a round and of later ones need to know; kept in the round's file.

    The settings stand here as well as in `config.json`: those that leave the result as it is may
    be others each time that somebody asks.
    """
    return {
        "launcher": launcher.model_dump(mode="json"),
        "env": env,
        "commit": commit,
        "settings": settings.model_dump(mode="json", exclude={"resources"}),
        "resources": settings.resources.model_dump(mode="json"),
        "idle_rounds": 0,
    }


def worker_job(
    artifact: Artifact,
    workers: int,
    spec: dict[str, Any],
    after_ok: tuple[str, ...] = (),
    key: str = "",
) -> Job:
    """The array of workers of a node, of the round with this key."""
    launcher = Launcher.model_validate(spec["launcher"])
    resources = Resources.model_validate(spec["resources"])
    return Job(
        name=job_name("", artifact, key),
        module="hala_hpc.worker",
        words=(str(artifact.folder),),
        elements=workers,
        python=launcher.python_of(spec["env"]),
        resources=resources,
        folder=artifact.logs,
        after_ok=after_ok,
        environment={
            "OMP_NUM_THREADS": str(resources.cpus_per_rank),
            **job_environment(launcher, spec),
        },
        setup=launcher.setup,
    )


def gate_job(artifact: Artifact, number: int, spec: dict[str, Any], workers_id: str) -> Job:
    """The gate that follows the workers of a round."""
    launcher = Launcher.model_validate(spec["launcher"])
    key = str(artifact.round(number).get("key", ""))
    return Job(
        name=job_name("gate-", artifact, key),
        module="hala_hpc.gate",
        words=(str(artifact.folder), str(number)),
        python=launcher.python_of("main"),
        resources=launcher.gate_resources,
        folder=artifact.logs,
        after_any=(workers_id,),
        environment=job_environment(launcher, spec),
        setup=launcher.setup,
    )


def job_name(kind: str, artifact: Artifact, key: str) -> str:
    """A name by which a job is known again: node, fingerprint and the key of its round."""
    end = f"-{key}" if key else ""
    return kind + artifact.folder.name[-(NAME_LETTERS - len(kind) - len(end)) :] + end


def job_environment(launcher: Launcher, spec: dict[str, Any]) -> dict[str, str]:
    """Variables of every job; the launcher's win."""
    return {**JOB_ENVIRONMENT, "HALA_COMMIT": spec["commit"], **launcher.environment}


def code_commit() -> str:
    """Commit of the code that runs, from a clone's own files; the version in a wheel."""
    from hala_hpc import __version__

    git = Path(__file__).resolve().parent.parent / ".git"
    head = git / "HEAD"
    if not head.is_file():
        return __version__
    reference = head.read_text().strip()
    if not reference.startswith("ref: "):
        return reference
    loose = git / reference.removeprefix("ref: ")
    if loose.is_file():
        return loose.read_text().strip()
    packed = git / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    found = [line.split()[0] for line in lines if line.endswith(reference.removeprefix("ref: "))]
    return found[0] if found else __version__
