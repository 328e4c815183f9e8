"""The gate of a node: check that its units are complete, then collect, retry or fail.

Runs after the workers, as a small job or in the launcher's own process.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hala_hpc.backends.slurm.backend import SlurmBackend, task_environment
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.errors import NO_INPUT, RETRY, TransientError, UserError
from hala_hpc.core.quotas import describe_tight_quotas
from hala_hpc.core.startup import set_private_umask
from hala_hpc.jobs.closing import Verdict, fail_node, finish_node
from hala_hpc.jobs.closing_in_image import close_in_image
from hala_hpc.jobs.job_logging import set_up_logging
from hala_hpc.jobs.late_inputs import resubmit_after_inputs
from hala_hpc.jobs.submission import (
    find_or_adopt_gate,
    move_dependents,
    next_spec,
    submit_next_round,
    wait_for_pending_sbatch,
)
from hala_hpc.jobs.waiting_list import submit_waiting_nodes

#: Named explicitly, as this file runs as a program.
logger = logging.getLogger("hala_hpc.gate")

#: How long a gate waits if its user has reached the job limit or the controller does not answer,
#: and how often it tries, in seconds.
ROOM_WAIT_S = 600
ROOM_PAUSE_S = 15
#: How long a gate waits for the scheduler's kill once it was asked to stop, in seconds.
REQUEUE_WAIT_S = 180
LEVELS = {"failed": logging.ERROR, "again": logging.WARNING}


def gate(folder: str, number: int | None = None) -> None:
    """Run the gate of a round as a job: close the node, or submit what is missing with a successor.

    Exits with 0 if the node is done or continues in the successor, else with the code of the
    failure, so that dependent jobs are cancelled. Last, it submits nodes of the run that the job
    limit had held back.
    """
    set_private_umask()
    put_off_signals()
    set_up_logging(
        f"gate-{gate_job_id()}".rstrip("-"), node=task_environment().get("HALA_NODE", "")
    )
    artifact = Artifact(Path(folder))
    code = close_or_submit(artifact, number)
    try:
        submit_waiting_nodes(artifact.folder.parent)
    except Exception:
        # A node that is done must not count as failed for others.
        logger.exception("nodes that wait for the job limit were not submitted")
    for line in describe_tight_quotas(artifact.folder.parent):
        logger.warning("%s", line)
    sys.stdout.flush()
    sys.stderr.flush()
    wait_if_ended()
    os._exit(code)


def put_off_signals() -> None:
    """Block signals: finish what takes seconds when SLURM preempts the job or its time is short.

    A gate that ended at once would count as failed, and SLURM would cancel its dependents. One that
    is killed before it is done is requeued. Commands that it starts block signals, too.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT))


def wait_if_ended() -> None:
    """On preemption, wait for SLURM's kill, after which the gate is requeued.

    A job that exits by itself after its grace time counts as timed out, whatever its exit code is,
    and SLURM cancels its dependents.
    """
    if signal.SIGTERM in signal.sigpending():
        time.sleep(REQUEUE_WAIT_S)


def close_or_submit(artifact: Artifact, number: int | None) -> int:
    """Close the node or submit what is missing; return the exit code of the gate."""
    if (code := check_artifact(artifact)) is not None:
        return code
    close_in_image(artifact)
    verdict = retry_while_unavailable(
        artifact,
        lambda: (
            find_handover(artifact, number)
            or resubmit_after_inputs(artifact, gate_job_id())
            or finish_node(artifact)
        ),
    )
    log_verdict(artifact, verdict)
    if verdict.state != "again":
        return verdict.code
    if artifact.require_newest_round().spec.is_local:
        # No more jobs can be requested here: they are children of the launch.
        logger.warning("%s: run the launch command to resume", artifact.folder.name)
        return RETRY
    return submit_missing(artifact).code


def check_artifact(artifact: Artifact) -> int | None:
    """The exit code if a folder is no artifact, or its settings are damaged; else None."""
    try:
        artifact.require_config()
    except UserError as error:
        logger.error("%s", error)
        if error.code != NO_INPUT:
            fail_node(artifact, error.code, error.mistakes)
        # Nothing may be written into a folder that is no artifact.
        return error.code
    return None


def log_verdict(artifact: Artifact, verdict: Verdict) -> None:
    """Log a verdict and its reasons."""
    level = LEVELS.get(verdict.state, logging.INFO)
    for line in (f"{artifact.folder.name}: {verdict.state}", *verdict.lines):
        logger.log(level, "%s", line)


def report(artifact: Artifact) -> int:
    """Close a node by hand if its units are complete, else log why not; return the exit code."""
    if (code := check_artifact(artifact)) is not None:
        return code
    verdict = retry_while_unavailable(artifact, lambda: finish_node(artifact))
    log_verdict(artifact, verdict)
    if verdict.state == "again":
        logger.warning(
            "nothing was submitted: a gate by hand submits only with the argument `submit`"
        )
        return RETRY
    return verdict.code


def retry_while_unavailable(artifact: Artifact, decide: Callable[[], Verdict]) -> Verdict:
    """Run `decide`; retry for a while if the job limit is reached or SLURM does not answer.

    The node fails, with a recorded reason, if that lasts, and on any mistake.
    """
    until_s = time.monotonic() + ROOM_WAIT_S
    while True:
        try:
            return decide()
        except UserError as error:
            return fail_node(artifact, error.code, error.mistakes)
        except OSError as error:
            mistake = convert_os_error(error)
            return fail_node(artifact, mistake.code, mistake.mistakes)
        except TransientError as error:
            if time.monotonic() > until_s:
                return fail_node(artifact, RETRY, [f"nothing could be submitted: {error}"])
            logger.warning("%s: %s; retrying in %d s", artifact.folder.name, error, ROOM_PAUSE_S)
            time.sleep(ROOM_PAUSE_S)


def find_handover(artifact: Artifact, number: int | None) -> Verdict | None:
    """The verdict that a later round than this gate's is running, if one is."""
    if number is None or not has_later_round(artifact, number):
        return None
    return Verdict("handed over")


def has_later_round(artifact: Artifact, number: int) -> bool:
    """Whether a later round than this gate's is running: the gate was killed while it submitted."""
    newest = artifact.newest_round()
    # Rounds on this machine have no jobs that could run elsewhere.
    if newest is None or newest.round <= number or newest.spec.is_local:
        return False
    wait_for_pending_sbatch([artifact])
    successor = find_or_adopt_gate(artifact, SlurmBackend().query_queue(), gate_job_id())
    if successor:
        move_dependents(artifact, gate_job_id(), successor)
    return bool(successor)


def gate_job_id() -> str:
    """Id of the job that runs this gate; "" outside of one."""
    return task_environment().get("HALA_JOB_ID", "")


def submit_missing(artifact: Artifact) -> Verdict:
    """Submit what is missing; if that fails for long, record that the node has failed."""
    try:
        last = artifact.require_newest_round()
        # Only once: an interrupted try may have begun a round already.
        spec = next_spec(artifact, last.spec)
    except UserError as error:
        return fail_node(artifact, error.code, error.mistakes)

    def submit() -> Verdict:
        # After TransientError sbatch may have succeeded all the same: check before each try.
        if not has_later_round(artifact, last.round):
            submit_next_round(artifact, spec, gate_job_id())
        return Verdict("again")

    return retry_while_unavailable(artifact, submit)


def main(arguments: Sequence[str]) -> None:
    """`<artifact> <round>`, as a launch submits it; by hand `<artifact>`, `<artifact> submit`."""
    folder, more = Path(arguments[0]).resolve(), arguments[1:]
    if more and more[0].isdigit():
        gate(str(folder), int(more[0]))
    if more:
        gate(str(folder))
    set_private_umask()
    set_up_logging("gate")
    sys.exit(report(Artifact(folder)))


if __name__ == "__main__":
    given = sys.argv[2:]
    if len(sys.argv) not in (2, 3) or (given and given[0] != "submit" and not given[0].isdigit()):
        sys.exit("usage: python -m hala_hpc.gate <artifact> [<round> | submit]")
    main(sys.argv[1:])
