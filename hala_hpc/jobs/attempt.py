"""One attempt at the units of a worker: the child process that runs the model code.

Started by `hala_hpc.worker`, which handles signals and exit codes. Exits with the code of a
`UserError`, with 75 if it was asked to stop, and with 70 and a traceback for a defect.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from hala_hpc.core.artifact import Artifact, find_result_faults
from hala_hpc.core.claims import Claims
from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.errors import (
    CONFIG,
    INTERNAL,
    NO_INPUT,
    RETRY,
    InputNotFinished,
    TransientError,
    UserError,
)
from hala_hpc.core.file_facts import FileFault, list_unexpected_files
from hala_hpc.core.fingerprint import fingerprint_path
from hala_hpc.core.full_disk import find_full_disk_error
from hala_hpc.core.hub import fetched_folder, hub_cache, is_hub_offline, parse_hub_reference
from hala_hpc.core.job_records import ErrorReport
from hala_hpc.core.paths import is_within
from hala_hpc.core.records import InputFacts, NodeConfig, NodeSummary
from hala_hpc.core.stage import Stage
from hala_hpc.core.stage_registry import find_stage
from hala_hpc.engines.models.files import local_model
from hala_hpc.engines.models.node_local import LocalWeights
from hala_hpc.jobs.failures.classify import failure_facts
from hala_hpc.jobs.job_context import JobContext, record_error_report
from hala_hpc.jobs.job_logging import set_up_logging
from hala_hpc.jobs.node_health import check_node

#: Faulty files of an incomplete input that an error names.
MAX_SHOWN_FAULTS = 3
#: The fix if the output of a node is incomplete.
REMAKE_FIX = "run the launch command again with stage=all, which rebuilds what is missing"
#: Named explicitly: this file runs as `__main__`.
logger = logging.getLogger("hala_hpc.jobs.attempt")


@dataclass(frozen=True)
class JobInputs:
    """Inputs of a node as a job finds them on disk; each must be complete."""

    config: NodeConfig
    work: Path
    local: LocalWeights | None = None
    """Local disk to which models are copied before they are read; None to read them in place."""
    models: frozenset[str] = frozenset()
    """References that name models."""

    def artifact(self, name: str) -> Artifact:
        """The artifact of an input node."""
        folder = self.config.inputs[name].artifact
        assert folder is not None, name
        return Artifact(self.work / folder)

    def path(self, reference: str) -> str:
        """Path of an input, on the local disk for models.

        Raises: as `shared_path`.
        """
        found = self.shared_path(reference)
        if self.local is None or reference not in self.models:
            return found
        folder = Path(found).expanduser()
        return str(self.local.path(folder)) if folder.is_dir() else found

    def shared_path(self, reference: str) -> str:
        """Path of an input on the shared file system.

        Raises: InputNotFinished if its node has no summary; UserError (NO_INPUT) if it is
        incomplete or missing.
        """
        if not reference.startswith("@"):
            facts = self.config.inputs.get(reference)
            if facts and facts.repository:
                return hub_path(reference, facts)
            found = facts.path if facts and facts.path else reference
            require_whole(reference, [fault.text for fault in find_result_faults(Path(found))])
            return found
        name, _, rest = reference[1:].partition("/")
        artifact = self.artifact(name)
        path = artifact.output / rest
        if artifact.summary() is None:
            raise InputNotFinished(
                f"input {reference} is not complete: {artifact.summary_file} is missing; "
                f"{REMAKE_FIX}",
                NO_INPUT,
            )
        broken = [
            fault.text
            for fault in input_faults(artifact, self.config.inputs[name].kind)
            if is_within(fault.path, path)
        ]
        require_whole(reference, broken if path.exists() else [f"{path} is missing"])
        return str(path)

    def require_unchanged(self) -> None:
        """Check that no input file or folder changed since the launch.

        Raises: UserError (NO_INPUT) if one did.
        """
        for name, facts in self.config.inputs.items():
            if not facts.path:
                continue
            path = Path(facts.path)
            if not path.exists():
                problem = "is missing"
            elif fingerprint_path(path) != facts.fingerprint:
                problem = "has changed since the launch"
            else:
                continue
            raise UserError(
                f"input {name}: {path} {problem}; it was not read. Restore it, or run the launch "
                "command again: a changed input makes a new result",
                NO_INPUT,
            )

    def summary(self, reference: str) -> NodeSummary | None:
        """Summary of the node that `@node` names; None for any other reference."""
        if not reference.startswith("@"):
            return None
        return self.artifact(reference[1:].partition("/")[0]).summary()


def hub_path(reference: str, facts: InputFacts) -> str:
    """Snapshot of a model or data set of the hub, at the commit of the launch.

    A job with network access downloads the missing files of a model. For a data set the reference
    to stream is returned.

    Raises: UserError (NO_INPUT) if it is not in the cache and the job works offline.
    """
    kind, name = facts.repository or "", parse_hub_reference(reference).name
    wanted = f"{name}@{facts.fingerprint}" if facts.fingerprint else reference
    if not is_hub_offline(os.environ, default=True):
        # Requested even if it is in the cache: the snapshot may be incomplete.
        return str(local_model(wanted)) if kind == "models" else wanted
    if folder := fetched_folder(kind, wanted, os.environ):
        return str(folder)
    raise UserError(
        f"input {wanted} is not in the hub cache {hub_cache(os.environ)}, and this job works "
        "offline; run `python -m hala_hpc.fetch` on the login node with the overrides of the "
        "launch",
        NO_INPUT,
    )


def require_whole(reference: str, broken: list[str]) -> None:
    """Check that an input has no faults.

    Raises: UserError (NO_INPUT) if it has.
    """
    if not broken:
        return
    fix = REMAKE_FIX
    if not reference.startswith("@"):
        fix = "run the launch command that made it again, or copy it completely"
    message = "; ".join(broken[:MAX_SHOWN_FAULTS])
    raise UserError(f"input {reference} is not complete: {message}; {fix}", NO_INPUT)


@cache
def input_faults(artifact: Artifact, kind: str) -> list[FileFault]:
    """Faults of the output of an input node, by names and sizes; checked once in a process.

    A file that the summary does not list is a fault, as it would be read as rows. For a model it
    is none: people add a chat template there.
    """
    summary = artifact.summary()
    if summary is None:
        return []
    faults = artifact.output_faults(summary)
    if summary.files is not None and kind != "model":
        faults += list_unexpected_files(artifact.output, summary.files)
    return faults


def load_stage(artifact: Artifact, config: NodeConfig) -> Stage[Any]:
    """Create the stage of an artifact inside a job, with the settings of the newest round."""
    stage = find_stage(config.stage, config.stage_source)
    require_version(stage, config)
    spec = artifact.require_newest_round().spec
    settings = stage.Settings.model_validate(spec.stage_settings)
    return stage(settings, inputs_of(artifact, config))


def require_version(stage: type[Stage[Any]], config: NodeConfig) -> None:
    """Check that the code still has the stage version of the launch.

    Other changes of the code since the launch are only recorded: a `git pull` must not end a job.

    Raises: UserError (CONFIG) if the stage version changed, so that results would differ.
    """
    if stage.version != config.version:
        raise UserError(
            f"stage {config.stage}: the code has version {stage.version}, the node was launched "
            f"with version {config.version}; run the launch command again, which rebuilds the "
            "node, or restore the launched code (`snapshot = true` in the launcher keeps it for "
            "queued jobs)",
            CONFIG,
        )


def inputs_of(artifact: Artifact, config: NodeConfig) -> JobInputs:
    """The inputs of a node, on the shared file system."""
    return JobInputs(config, artifact.folder.parent)


def models_of(stage: Stage[Any]) -> frozenset[str]:
    """References to models in the settings of a stage."""
    references = stage.settings.references()
    return frozenset(value for _, value, found in references if found.kinds == ("model",))


def run_attempt(folder: str, worker: int, attempt: str) -> int:
    """Run the units of a worker that have no marker; return the exit code."""
    artifact = Artifact(Path(folder))
    config = artifact.require_config()
    stage = load_stage(artifact, config)
    assignment = artifact.require_newest_round().assignment
    if worker >= len(assignment):
        return 0  # this round has fewer workers
    out = JobContext(artifact, stage, worker, attempt)
    claims = Claims(artifact, worker, assignment, out.check_lease)
    own = [unit for unit in assignment[worker] if artifact.marker(unit) is None]
    units = iter(claims if stage.work_stealing else own)
    first = next(units, None)
    if first is None:
        return 0
    out.start()
    # Otherwise the log stays empty for minutes while a large model is loaded.
    logger.info("%d units to do; loading libraries and models", len(own))
    try:
        if stage.resources.gpus_per_node:
            # LLM Compressor only uses torch, so it needs no compiler.
            check_node(stage.resources, artifact.folder, compiles=stage.env == "main")
        with LocalWeights(stage.resources.local_weights_dir) as local:
            inputs_of(artifact, config).require_unchanged()
            stage.inputs = replace(
                inputs_of(artifact, config), local=local, models=models_of(stage)
            )
            stage.run(chain([first], units), out)
    finally:
        out.finish()
    taken = claims.taken if stage.work_stealing else own
    if out.rank != 0 or all(artifact.marker(unit) is not None for unit in taken):
        return 0
    if out.stop_requested:
        return RETRY
    raise UserError(f"{config.stage} returned without finishing its units: a defect", INTERNAL)


def find_permission_error(error: Exception, work: Path) -> UserError | None:
    """UserError for a PermissionError in the work folder; None for any other error.

    Elsewhere, as in a temporary folder, the node may be at fault: the attempt is retried.
    """
    if not isinstance(error, PermissionError) or not isinstance(error.filename, str):
        return None
    return convert_os_error(error) if is_within(Path(error.filename), work) else None


def main(arguments: Sequence[str]) -> int:
    """`python -m hala_hpc.jobs.attempt <artifact> <worker> <attempt>`."""
    folder, worker, attempt = arguments
    set_up_logging(attempt, int(os.environ.get("RANK", "0")))
    try:
        return run_attempt(folder, int(worker), attempt)
    except UserError as error:
        code, mistakes, facts = error.code, error.mistakes, failure_facts(error)
    except TransientError as error:
        code, mistakes, facts = RETRY, [str(error)], failure_facts(error)
    except Exception as error:
        work = Path(folder).parent
        if user_error := find_permission_error(error, work) or find_full_disk_error(error, work):
            code, mistakes, facts = user_error.code, user_error.mistakes, failure_facts(user_error)
        else:
            # The only place where a defect becomes an exit code.
            logger.exception("defect: unexpected exception")
            code, mistakes = INTERNAL, [f"{type(error).__name__}: {error}"]
            facts = failure_facts(error)
    report = ErrorReport(code=code, mistakes=tuple(mistakes), facts=facts)
    record_error_report(Artifact(Path(folder)), attempt, report)
    return code


if __name__ == "__main__":
    # os._exit: engines leave threads behind that can block a normal exit for minutes.
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
