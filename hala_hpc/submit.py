"""From a step of the plan to jobs: the workers of a node, its gate, and who waits for whom."""

import time
from pathlib import Path
from typing import Any

from hala_hpc.backends.slurm import SlurmBackend
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.files import read_json, write_json
from hala_hpc.core.job import Job
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import StageSettings
from hala_hpc.engines.job_environment import JOB_ENVIRONMENT
from hala_hpc.gate import begin_round, gate, idle_rounds
from hala_hpc.worker import work


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
    artifact: Artifact, workers: int, spec: dict[str, Any], after_ok: tuple[str, ...] = ()
) -> Job:
    """The array of workers of a node."""
    launcher = Launcher.model_validate(spec["launcher"])
    resources = Resources.model_validate(spec["resources"])
    return Job(
        name=artifact.folder.name[-64:],
        call=work,
        arguments=tuple((str(artifact.folder), worker) for worker in range(workers)),
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


def gate_job(artifact: Artifact, spec: dict[str, Any], workers_id: str) -> Job:
    """The gate that follows the workers."""
    launcher = Launcher.model_validate(spec["launcher"])
    return Job(
        name=f"gate-{artifact.folder.name}"[:64],
        call=gate,
        arguments=((str(artifact.folder),),),
        python=launcher.python_of("main"),
        resources=launcher.gate_resources,
        folder=artifact.logs,
        after_any=(workers_id,),
        environment=job_environment(launcher, spec),
        setup=launcher.setup,
    )


def job_environment(launcher: Launcher, spec: dict[str, Any]) -> dict[str, str]:
    """Variables of every job; the launcher's win."""
    return {**JOB_ENVIRONMENT, "HALA_COMMIT": spec["commit"], **launcher.environment}


def submit_node(
    artifact: Artifact, units: int, spec: dict[str, Any], after_ok: tuple[str, ...] = ()
) -> str:
    """Submit the missing units of a node and its gate; return the id of the gate."""
    backend = SlurmBackend()
    workers = Resources.model_validate(spec["resources"]).workers
    number = begin_round(artifact, units, workers, spec)
    count = len(artifact.round(number)["assignment"])
    workers_id = backend.submit(worker_job(artifact, count, spec, after_ok))
    gate_id = backend.submit(gate_job(artifact, spec, workers_id))
    write_json(
        artifact.jobs_file,
        {
            "round": number,
            "workers": workers_id,
            "gate": gate_id,
            "submitted": time.time(),
        },
    )
    return gate_id


def next_spec(artifact: Artifact, spec: dict[str, Any]) -> dict[str, Any]:
    """The spec of the round after the last one, which knows how many before it were idle."""
    return {**spec, "idle_rounds": idle_rounds(artifact)}


def submit_again(artifact: Artifact) -> str:
    """Submit the next round from inside the gate; who waited for this gate waits for the next."""
    config, jobs = artifact.config(), read_json(artifact.jobs_file)
    assert config is not None, artifact.folder
    assert jobs is not None, artifact.folder
    spec = artifact.round(artifact.last_round())["spec"]
    gate_id = submit_node(artifact, config["units"], next_spec(artifact, spec))
    moved = SlurmBackend().move_waiting(jobs["gate"], gate_id)
    print(f"round {artifact.last_round()} submitted with gate {gate_id}; moved: {moved}")
    return gate_id


def job_ids(artifact: Artifact) -> list[str]:
    """Ids of the newest workers and gate of a node; empty before the first submission."""
    jobs = read_json(artifact.jobs_file) or {}
    return [jobs[key] for key in ("workers", "gate") if key in jobs]


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
