"""Submit the rounds of a node so that a kill at any time neither loses nor duplicates jobs.

The round file, with a unique key, is written before sbatch, and the ids are written to `jobs.json`
after it. Jobs whose ids were never written are found by the key in their names.
"""

import logging
import time
from collections.abc import Callable

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.backends.slurm.client import QueueRow, cancel_command
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import Damaged
from hala_hpc.core.errors import (
    RETRY,
    JobLimitReached,
    JobRefused,
    NodesUnavailable,
    TransientError,
    UserError,
)
from hala_hpc.core.job import Job
from hala_hpc.core.records import Jobs, Round, RoundSpec
from hala_hpc.jobs.budget import require_budget
from hala_hpc.jobs.failures.decision import adjusted_spec
from hala_hpc.jobs.failures.excluded_nodes import restore_all_nodes
from hala_hpc.jobs.rounds import (
    begin_round,
    count_infrastructure_failures,
    count_rounds_without_progress,
)
from hala_hpc.jobs.spec import gate_job, is_job_of, job_name, worker_job

logger = logging.getLogger(__name__)

#: Seconds after which an sbatch that outlived its launch has succeeded or never will.
PENDING_SBATCH_S = 5
#: Errors after which SLURM has kept nothing of a submission.
REFUSALS = (JobLimitReached, JobRefused, NodesUnavailable)


def no_lease_check() -> None:
    """Check nothing: for a gate, which holds no lease of its work folder; rounds fence it."""


def submit_node(
    artifact: Artifact,
    units: int,
    spec: RoundSpec,
    after_ok: tuple[str, ...] = (),
    check_lease: Callable[[], None] = no_lease_check,
) -> str:
    """Submit the missing units of a node and its gate; return the id of the gate.

    Halves the number of workers if SLURM accepts no more jobs or no larger array. If SLURM refuses
    a job that excludes nodes, submits it again without the exclusion.

    Raises: JobLimitReached if SLURM does not accept even one worker and a gate; JobRefused;
    NodesUnavailable; UserError (CONFIG) if the budget is spent; what `check_lease` raises if
    another process has taken over.
    """
    require_budget(artifact.folder.parent, spec)
    workers = spec.resources.workers
    while True:
        check_lease()
        begun = begin_round(artifact, units, workers, spec)
        try:
            return submit_round(artifact, begun, after_ok, check_lease=check_lease)
        except REFUSALS as refusal:
            # Nothing was submitted, so the round is removed.
            artifact.round_file(begun.round).unlink()
            if isinstance(refusal, JobLimitReached):
                if begun.workers == 1:
                    raise
                workers = begun.workers // 2
            elif spec.bad_nodes:
                spec = restore_all_nodes(spec)
            else:
                raise


def submit_round(
    artifact: Artifact,
    asked: Round,
    after_ok: tuple[str, ...] = (),
    adopted_id: str = "",
    check_lease: Callable[[], None] = no_lease_check,
) -> str:
    """Submit workers and gate of a round and return the id of the gate.

    `adopted_id` is the id of workers submitted before: only their gate is submitted, and they stay
    if there is no room for it.

    Raises: one of REFUSALS; TransientError if another round was started since; what `check_lease`
    raises. Jobs submitted by this call are then cancelled.
    """
    backend = SlurmBackend()
    submitted: list[str] = []

    def require_current() -> None:
        """Cancel the submitted jobs if another process took over while this one was paused."""
        try:
            check_lease()
            artifact.require_newest(asked)
        except (TransientError, UserError):
            if submitted:
                backend.cancel(submitted)
            raise

    def submit(job: Job) -> str:
        require_current()
        submitted.append(backend.submit(job))
        require_current()
        return submitted[-1]

    workers_id = adopted_id or submit(
        worker_job(artifact, asked.workers, asked.spec, after_ok, asked)
    )
    jobs = Jobs(round=asked.round, submitted=time.time(), workers=workers_id)
    artifact.write_jobs(jobs)
    try:
        gate_id = submit(gate_job(artifact, asked.round, asked.spec, workers_id))
    except REFUSALS:
        if submitted:
            backend.cancel(submitted)
        raise
    artifact.write_jobs(jobs.model_copy(update={"gate": gate_id}))
    return gate_id


def has_pending_sbatch(artifact: Artifact) -> bool:
    """Whether ids of the newest round are unwritten: a submission is running or was killed."""
    asked, jobs = artifact.newest_round_if_valid(), artifact.jobs()
    if asked is None or asked.spec.is_local:
        return False
    return jobs is None or jobs.round != asked.round or not jobs.gate


def wait_for_pending_sbatch(artifacts: list[Artifact]) -> None:
    """Wait until every sbatch left by a killed launch has succeeded or never will."""
    ages = [
        time.time() - artifact.round_file(artifact.last_round()).stat().st_mtime
        for artifact in artifacts
        if has_pending_sbatch(artifact)
    ]
    if ages and min(ages) < PENDING_SBATCH_S:
        time.sleep(PENDING_SBATCH_S - max(0.0, min(ages)))


def find_or_adopt_gate(artifact: Artifact, queue_rows: list[QueueRow], apart_from: str = "") -> str:
    """Id of the gate of the jobs queued or running for a node; "" if there are none.

    Jobs of a killed launch are adopted, and workers without a gate get one. `queue_rows` are all
    jobs of this user in squeue; `apart_from` is the id of a job to ignore.
    """
    asked, jobs = own_newest_round(artifact), artifact.jobs()
    active = {row.id for row in queue_rows} - {apart_from}
    if asked is None:
        require_no_jobs(artifact, [row for row in queue_rows if row.id in active])
        return ""
    if jobs and jobs.gate in active and is_gate_of(artifact, jobs, queue_rows):
        return jobs.gate
    names = {row.name: row.id for row in queue_rows if row.id in active}
    workers_id = names.get(job_name("", artifact, asked.key), "")
    if gate_id := names.get(job_name("gate-", artifact, asked.key)):
        known = workers_id or (jobs.workers if jobs else "")
        now = time.time()
        artifact.write_jobs(Jobs(round=asked.round, submitted=now, workers=known, gate=gate_id))
        return gate_id
    if not workers_id:
        return ""
    if asked.spec.is_of_another_user():
        raise UserError(
            f"job {workers_id} of {artifact.folder.name} belongs to {asked.spec.user} and has no "
            "gate: try again when it has ended",
            RETRY,
        )
    return submit_round(artifact, asked, adopted_id=workers_id)


def own_newest_round(artifact: Artifact) -> Round | None:
    """The newest round, to resume with its jobs; None before the first and if it is damaged.

    Raises: UserError (CONFIG) if another user could have written it.
    """
    try:
        return Round.read_own(artifact.round_file(artifact.last_round()))
    except Damaged:
        return None


def require_no_jobs(artifact: Artifact, active: list[QueueRow]) -> None:
    """Check that no jobs are queued for a node whose round file is damaged.

    The key that identifies its jobs is lost with the file.

    Raises: UserError (RETRY) if there are such jobs.
    """
    ids = sorted({row.id for row in active if is_job_of(artifact, row.name, row.folder)})
    if artifact.last_round() and ids:
        raise UserError(
            f"jobs {', '.join(ids)} are running for {artifact.folder.name}, and "
            f"{artifact.round_file(artifact.last_round())} is damaged; wait for them, or cancel "
            f"them with `{cancel_command(ids)}`",
            RETRY,
        )


def is_gate_of(artifact: Artifact, jobs: Jobs, queue_rows: list[QueueRow]) -> bool:
    """Whether the job with the id of a gate is that gate, by its name.

    A controller that lost its state reuses ids for other jobs.
    """
    asked = artifact.round_if_valid(jobs.round)
    name = job_name("gate-", artifact, asked.key if asked else "")
    return any(row.id == jobs.gate and row.name == name for row in queue_rows)


def next_spec(artifact: Artifact, spec: RoundSpec) -> RoundSpec:
    """The spec of the next round: changed by the remedies, with the counts of idle rounds."""
    counts = {
        "rounds_without_progress": count_rounds_without_progress(artifact),
        "infrastructure_failures": count_infrastructure_failures(artifact),
    }
    return adjusted_spec(artifact, spec).model_copy(update=counts)


def submit_next_round(artifact: Artifact, spec: RoundSpec, own_gate: str) -> None:
    """Submit the next round from a gate; jobs that depend on this gate then depend on its gate."""
    units = artifact.require_config().units
    move_dependents(artifact, own_gate, submit_node(artifact, units, spec))


def move_dependents(artifact: Artifact, own_gate: str, gate_id: str) -> None:
    """Move the jobs that depend on one gate to another."""
    moved = SlurmBackend().replace_dependency(own_gate, gate_id)
    logger.info(
        "round %d continues with gate %s; dependents moved: %s",
        artifact.last_round(),
        gate_id,
        moved,
    )
