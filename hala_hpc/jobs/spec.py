"""The jobs of a node: the array of workers and the gate, with names, environment and spec."""

import os
from functools import cache
from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.code_version import LaunchedCode
from hala_hpc.core.environment import (
    CODE_FOLDER_VARIABLE,
    JOB_ENVIRONMENT,
    data_folders,
    hub_home,
)
from hala_hpc.core.job import Job
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.paths import ROOT
from hala_hpc.core.records import NodeConfig, Round, RoundSpec
from hala_hpc.core.settings import StageSettings
from hala_hpc.core.sharing import OWNER, SHARE_VARIABLE, user_name

#: Starts of a gate that is killed; each start resumes where the last one stopped.
GATE_TRIES = 3
#: Variables that name caches which jobs write or read besides those of the hub.
CACHE_VARIABLES = (
    *("HF_HUB_CACHE", "TRITON_CACHE_DIR", "VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR"),
    *("XDG_CACHE_HOME", "TMPDIR"),
)
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
        user=user_name(os.geteuid()),
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
    folders = list_job_folders(artifact, launcher)
    return Job(
        name=job_name("", artifact, asked.key if asked else ""),
        module="hala_hpc.worker",
        arguments=(str(artifact.folder),),
        array_size=workers,
        python=launcher.job_python_of(spec.env),
        wrapper=tuple(launcher.interpreter.wrap(folders, spec.resources.gpus_per_node > 0)),
        srun_flags=(*launcher.interpreter.srun_flags(folders), *launcher.srun),
        resources=spec.resources,
        folder=artifact.logs,
        after_ok=after_ok,
        environment={
            "OMP_NUM_THREADS": str(spec.resources.cpus_per_rank),
            # Workers that a launch submitted too late for their round exit at once.
            **({"HALA_ROUND": str(asked.round)} if asked else {}),
            **job_environment(spec),
        },
        setup=launcher.setup_lines,
    )


def gate_job(artifact: Artifact, number: int, spec: RoundSpec, workers_id: str) -> Job:
    """The gate that follows the workers of a round."""
    launcher, asked = spec.launcher, artifact.round(number)
    key = asked.key if asked else ""
    return Job(
        name=job_name("gate-", artifact, key),
        module="hala_hpc.gate",
        arguments=(str(artifact.folder), str(number)),
        python=launcher.gate_python,
        srun_flags=launcher.srun,
        resources=launcher.gate_resources,
        folder=artifact.logs,
        after_any=(workers_id,),
        tries=GATE_TRIES,
        environment=job_environment(spec),
        setup=launcher.setup_lines,
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
    folder = spec.code_folder
    if spec.launcher.interpreter.is_container and not folder and is_clone():
        # The image has the libraries; the code is that of the launch.
        folder = str(ROOT)
    code = {CODE_FOLDER_VARIABLE: folder} if folder else {}
    share = {SHARE_VARIABLE: spec.launcher.share} if spec.launcher.share != OWNER else {}
    return {**JOB_ENVIRONMENT, **spec.launcher.environment, **code, **share}


def list_job_folders(artifact: Artifact, launcher: Launcher) -> list[str]:
    """Folders that the image of a job must see: work, code, caches, and inputs outside of them.

    Empty without an image. A link is listed with its target.
    """
    if not launcher.interpreter.is_container:
        return []
    environment = {**os.environ, **launcher.environment}
    config = NodeConfig.read_if_valid(artifact.config_file)
    inputs = [facts.path for facts in config.inputs.values() if facts.path] if config else []
    named = [environment[name] for name in CACHE_VARIABLES if environment.get(name)]
    folders = [artifact.folder.parent, *([ROOT] if is_clone() else []), hub_home(environment)]
    folders += [Path(one) for one in (*data_folders(environment).values(), *named, *inputs)]
    found = [one for folder in folders for one in (folder, folder.resolve()) if one.exists()]
    # The work folder exists when the job starts, if not yet now.
    return list(dict.fromkeys(map(str, (artifact.folder.parent, *found))))


def is_clone() -> bool:
    """Whether this package runs from a clone, which an image does not have."""
    return (ROOT / "pyproject.toml").is_file()
