"""Rounds of jobs that a user submitted with an sbatch template.

The jobs get the names that a launch would have given them, so that a later launch, `status` and
`cancel` recognize them.
"""

import logging
import time

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.backends.slurm.client import cancel_command
from hala_hpc.backends.slurm.granted import own_job_id, rename_own_job
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import RETRY, SchedulerUnavailable, UserError
from hala_hpc.core.records import Jobs, Round, RoundSpec
from hala_hpc.jobs.budget import require_budget
from hala_hpc.jobs.rounds import join_round
from hala_hpc.jobs.spec import job_name

logger = logging.getLogger(__name__)


def begin_by_hand(artifact: Artifact, units: int, spec: RoundSpec) -> Round:
    """Return the round of this job; the first task of its array creates it.

    Raises: UserError (RETRY) if jobs of another round are running; UserError (CONFIG) if the
    budget is spent; TransientError if another process creates a round at the same time.
    """
    key = f"j{own_job_id()}"
    require_budget(artifact.folder.parent, spec)
    require_no_others(artifact, key)
    joined, is_begun = join_round(artifact, units, spec.resources.workers, spec, key)
    if is_begun:
        artifact.failure_file.unlink(missing_ok=True)
        if not rename_own_job(job_name("", artifact, joined.key)):
            logger.warning("SLURM did not rename this job: a launch will not recognize it")
        artifact.write_jobs(Jobs(round=joined.round, submitted=time.time(), workers=own_job_id()))
    return joined


def require_no_others(artifact: Artifact, key: str) -> None:
    """Check that no jobs of a newest round with another key are in the queue.

    If SLURM does not answer on this node, this is unknown: then only the round file prevents
    two rounds from working at once.

    Raises: UserError (RETRY) if such jobs are in the queue.
    """
    newest = artifact.newest_round()
    if newest is None or newest.key == key or newest.spec.is_local:
        return
    try:
        queue_rows = SlurmBackend().query_queue()
    except SchedulerUnavailable as error:
        logger.warning("%s: unknown whether jobs of an earlier round are running", error)
        return
    names = {job_name(kind, artifact, newest.key) for kind in ("", "gate-")}
    if active := sorted({row.id for row in queue_rows if row.name in names}):
        raise UserError(
            f"jobs {', '.join(active)} are running for {artifact.folder.name}: wait for them, or "
            f"cancel them with `{cancel_command(active)}`",
            RETRY,
        )
