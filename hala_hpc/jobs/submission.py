"""Submit the rounds of a node so that a kill at any instant loses and doubles nothing.

The round's file, with a key that nobody else has, is written before sbatch; the ids stand in
`jobs.json` after it. Jobs whose ids were never written are known again by the key in their names.
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

#: An sbatch that outlived its launch has got through, or never will, after this many seconds.
PENDING_SBATCH_S = 5
#: What SLURM says to a job of which nothing is left then.
REFUSALS = (JobLimitReached, JobRefused, NodesUnavailable)


def no_lease_check() -> None:
    """For a gate, which holds no lease of its work folder: rounds alone fence it."""


def submit_node(
    artifact: Artifact,
    units: int,
    spec: RoundSpec,
    after_ok: tuple[str, ...] = (),
    check_lease: Callable[[], None] = no_lease_check,
) -> str:
    """Submit the missing units of a node and its gate; return the id of the gate.

    With fewer workers, each for more units, where the cluster takes no more jobs or no larger
    array; once with the nodes that were left out, where it refuses the job without them. Raises
    JobLimitReached when it takes not even one worker and a gate, JobRefused, NodesUnavailable, UserError when the
    budget is spent, or what `check_lease` raises where another process has taken over.
    """
    require_budget(artifact.folder.parent, spec)
    workers = spec.resources.workers
    while True:
        check_lease()
        begun = begin_round(artifact, units, workers, spec)
        try:
            return submit_round(artifact, begun, after_ok, check_lease=check_lease)
        except REFUSALS as refusal:
            # Nothing of it is left: this round never was.
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

    `adopted_id` are workers that were submitted before: they get a gate only, and stay where
    there is no room for one. Raises: one of REFUSALS, Retry where another round was begun since,
    or what `check_lease` raises; what this call has submitted is then ended again.
    """
    backend = SlurmBackend()
    submitted: list[str] = []

    def require_current() -> None:
        """This process may have been away, and another have begun anew: then these are void."""
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
    """Whether ids of the newest round were never written: somebody submits, or was killed."""
    asked, jobs = artifact.newest_round_if_valid(), artifact.jobs()
    if asked is None or asked.spec.is_local:
        return False
    return jobs is None or jobs.round != asked.round or not jobs.gate


def wait_for_pending_sbatch(artifacts: list[Artifact]) -> None:
    """Wait until every sbatch that a killed launch left behind has got through, or never will."""
    ages = [
        time.time() - artifact.round_file(artifact.last_round()).stat().st_mtime
        for artifact in artifacts
        if has_pending_sbatch(artifact)
    ]
    if ages and min(ages) < PENDING_SBATCH_S:
        time.sleep(PENDING_SBATCH_S - max(0.0, min(ages)))


def find_or_adopt_gate(artifact: Artifact, queue_rows: list[QueueRow], apart_from: str = "") -> str:
    """Id of the gate that ends what is at work on a node; "" when nothing is.

    Jobs of a killed launch are adopted, and workers without a gate get one. `seen` is what
    the scheduler shows of all jobs of this user, `apart_from` the id of one that does not count.
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
    return submit_round(artifact, asked, adopted_id=workers_id) if workers_id else ""


def own_newest_round(artifact: Artifact) -> Round | None:
    """The newest round, to go on with its jobs; None before the first and where it is damaged.

    Raises: UserError (CONFIG) where another user could have written it.
    """
    try:
        return Round.read_own(artifact.round_file(artifact.last_round()))
    except Damaged:
        return None


def require_no_jobs(artifact: Artifact, active: list[QueueRow]) -> None:
    """Raise UserError (RETRY) where jobs work on a node of which nobody knows the round.

    Its file is damaged, and with it the key by which the jobs are known again.
    """
    ids = sorted({row.id for row in active if is_job_of(artifact, row.name, row.folder)})
    if artifact.last_round() and ids:
        raise UserError(
            f"jobs {', '.join(ids)} are at work on {artifact.folder.name}, and "
            f"{artifact.round_file(artifact.last_round())} is damaged: wait for them, or end them "
            f"with `{cancel_command(ids)}`",
            RETRY,
        )


def is_gate_of(artifact: Artifact, jobs: Jobs, queue_rows: list[QueueRow]) -> bool:
    """Whether the job with the number of a gate is that gate, by its name.

    A controller that lost its state gives the same numbers to other jobs.
    """
    asked = artifact.round_if_valid(jobs.round)
    name = job_name("gate-", artifact, asked.key if asked else "")
    return any(row.id == jobs.gate and row.name == name for row in queue_rows)


def next_spec(artifact: Artifact, spec: RoundSpec) -> RoundSpec:
    """The spec of the round after the last one: changed as its failures ask for, and counted."""
    counts = {
        "rounds_without_progress": count_rounds_without_progress(artifact),
        "infrastructure_failures": count_infrastructure_failures(artifact),
    }
    return adjusted_spec(artifact, spec).model_copy(update=counts)


def submit_next_round(artifact: Artifact, spec: RoundSpec, own_gate: str) -> None:
    """Submit the next round from inside a gate; who waited for this gate waits for the next."""
    units = artifact.require_config().units
    move_dependents(artifact, own_gate, submit_node(artifact, units, spec))


def move_dependents(artifact: Artifact, own_gate: str, gate_id: str) -> None:
    """Let those who wait for one gate wait for another."""
    moved = SlurmBackend().replace_dependency(own_gate, gate_id)
    logger.info("round %d goes on with gate %s; moved: %s", artifact.last_round(), gate_id, moved)
