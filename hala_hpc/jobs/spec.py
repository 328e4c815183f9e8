"""The jobs of a node: the array of workers and the gate, with names, environment and spec."""

from functools import cache
from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.code_version import LaunchedCode
from hala_hpc.core.environment import CODE_FOLDER_VARIABLE, JOB_ENVIRONMENT
from hala_hpc.core.job import Job
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.records import Round, RoundSpec
from hala_hpc.core.settings import StageSettings

#: Starts of a gate that is killed; each start resumes where the last one stopped.
GATE_TRIES = 3
#: Maximum length of a job name.
MAX_NAME_LETTERS = 64


def make_spec(
    launcher: Launcher, settings: StageSettings, env: str, code: LaunchedCode
) -> RoundSpec:
    """Make the spec of a first round: all that its jobs need to know."""
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
    """The array of workers of a node for a round; without a round, only for display."""
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
            # Workers that a launch submitted too late for their round exit at once.
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
    """Name that identifies a job: node, fingerprint and the key of its round."""
    end = f"-{key}" if key else ""
    return kind + artifact.folder.name[-(MAX_NAME_LETTERS - len(kind) - len(end)) :] + end


def is_job_of(artifact: Artifact, name: str, folder: str) -> bool:
    """Whether a job belongs to this node, in any round, by its name and working directory.

    The id is not enough: a controller that lost its state reuses ids. Nor is the name: the same
    node in another work folder has the same fingerprint.
    """
    is_named_so = f"{artifact.folder.name.rpartition('-')[2]}-" in name
    return is_named_so and resolve_folder(folder) == resolve_folder(str(artifact.logs))


def is_of_newest_jobs(artifact: Artifact, name: str, folder: str) -> bool:
    """Whether a job has the name of one recorded in `jobs.json`, with the key of its round.

    The key of a damaged round is unknown: then the job must have the node's working directory.
    """
    jobs = artifact.jobs()
    asked = artifact.round_if_valid(jobs.round) if jobs else None
    if asked is None:
        return is_job_of(artifact, name, folder)
    return name in {job_name(kind, artifact, asked.key) for kind in ("", "gate-")}


@cache
def resolve_folder(folder: str) -> str:
    """A folder with symbolic links resolved."""
    return str(Path(folder).resolve())


def job_environment(spec: RoundSpec) -> dict[str, str]:
    """Variables of every job; those of the launcher take precedence."""
    code = {CODE_FOLDER_VARIABLE: spec.code_folder} if spec.code_folder else {}
    return {**JOB_ENVIRONMENT, **spec.launcher.environment, **code}
