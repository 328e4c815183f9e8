"""The jobs of a node: its array of workers and its gate, and what both must be told."""

from functools import cache
from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.code_version import LaunchedCode
from hala_hpc.core.environment import CODE_FOLDER_VARIABLE, JOB_ENVIRONMENT
from hala_hpc.core.job import Job
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.records import Round, RoundSpec
from hala_hpc.core.settings import StageSettings

#: How often a gate is started that is killed: it goes on where the last one stopped.
GATE_TRIES = 3
#: Most letters of a job's name.
MAX_NAME_LETTERS = 64


def make_spec(
    launcher: Launcher, settings: StageSettings, env: str, code: LaunchedCode
) -> RoundSpec:
    """What the jobs of a first round need to know."""
    return RoundSpec(
        **code.model_dump(),
        launcher=launcher,
        env=env,
        settings=settings.model_dump(mode="json", exclude={"resources"}),
        resources=settings.resources,
    )


def worker_job(
    artifact: Artifact,
    workers: int,
    spec: RoundSpec,
    after_ok: tuple[str, ...] = (),
    asked: Round | None = None,
) -> Job:
    """The array of workers of a node for a round; without one, for a look at what it would be."""
    launcher = spec.launcher
    return Job(
        name=job_name("", artifact, asked.key if asked else ""),
        module="hala_hpc.worker",
        arguments=(str(artifact.folder),),
        array_size=workers,
        python=launcher.python_of(spec.env),
        resources=spec.resources,
        folder=artifact.logs,
        after_ok=after_ok,
        environment={
            "OMP_NUM_THREADS": str(spec.resources.cpus_per_rank),
            # Workers that a launch submitted too late for their round do nothing.
            **({"HALA_ROUND": str(asked.round)} if asked else {}),
            **job_environment(spec),
        },
        setup=launcher.setup,
    )


def gate_job(artifact: Artifact, number: int, spec: RoundSpec, workers_id: str) -> Job:
    """The gate that follows the workers of a round."""
    launcher, asked = spec.launcher, artifact.round(number)
    key = asked.key if asked else ""
    return Job(
        name=job_name("gate-", artifact, key),
        module="hala_hpc.gate",
        arguments=(str(artifact.folder), str(number)),
        python=launcher.python_of("main"),
        resources=launcher.gate_resources,
        folder=artifact.logs,
        after_any=(workers_id,),
        tries=GATE_TRIES,
        environment=job_environment(spec),
        setup=launcher.setup,
    )


def job_name(kind: str, artifact: Artifact, key: str) -> str:
    """A name by which a job is known again: node, fingerprint and the key of its round."""
    end = f"-{key}" if key else ""
    return kind + artifact.folder.name[-(MAX_NAME_LETTERS - len(kind) - len(end)) :] + end


def is_job_of(artifact: Artifact, name: str, folder: str) -> bool:
    """Whether a job is one of this node, in whatever round, by its name and where it works.

    Its number proves nothing: a controller that lost its state gives numbers again. Nor does the
    name alone: the same node of another work folder has the same fingerprint.
    """
    is_named_so = f"{artifact.folder.name.rpartition('-')[2]}-" in name
    return is_named_so and resolve_folder(folder) == resolve_folder(str(artifact.logs))


def is_of_newest_jobs(artifact: Artifact, name: str, folder: str) -> bool:
    """Whether a job bears the name of one that was written down last, with the key of its round.

    Of a damaged round nobody knows the key: then it must work in the folder of the node.
    """
    jobs = artifact.jobs()
    asked = artifact.round_if_valid(jobs.round) if jobs else None
    if asked is None:
        return is_job_of(artifact, name, folder)
    return name in {job_name(kind, artifact, asked.key) for kind in ("", "gate-")}


@cache
def resolve_folder(folder: str) -> str:
    """A folder without links."""
    return str(Path(folder).resolve())


def job_environment(spec: RoundSpec) -> dict[str, str]:
    """Variables of every job; the launcher's win."""
    code = {CODE_FOLDER_VARIABLE: spec.code_folder} if spec.code_folder else {}
    return {**JOB_ENVIRONMENT, **spec.launcher.environment, **code}
