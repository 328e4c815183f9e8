"""Jobs on a SLURM cluster: submitted with submitit, queried with SLURM's own commands.

The state of the work is on disk; SLURM only shows whether jobs for it are queued or running.
"""

import contextlib
import io
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hala_hpc.backends.slurm import client
from hala_hpc.backends.slurm.sbatch import check_ids, sbatch_flags, script_arguments
from hala_hpc.backends.slurm.task_environment import task_environment
from hala_hpc.core.errors import (
    CONFIG,
    UNAVAILABLE,
    JobLimitReached,
    JobRefused,
    NodesUnavailable,
    SchedulerUnavailable,
    TransientError,
    UserError,
)
from hala_hpc.core.job import Job
from hala_hpc.core.paths import shipped_folder
from hala_hpc.core.sharing import UMASKS, current_share, folder_bits

if TYPE_CHECKING:
    from hala_hpc.backends.slurm.sacct import JobUsage, NamedJob

__all__ = ["Objections", "SlurmBackend", "task_environment"]

#: Messages of sbatch about a limit on the number of jobs or the size of an array.
FULL = re.compile(r"(Max|Grp)Submit|Invalid job array specification")
NO_SBATCH = (
    "no `sbatch` on the PATH; use a login node of the cluster, load its module (often "
    "`module load slurm`), or run on this machine with launcher=local"
)
NO_CONTROLLER = (
    "SLURM's controller does not answer; see `scontrol ping`, or run on this machine with "
    "launcher=local"
)
#: A launch submits many jobs: a controller that answered is not queried again for these seconds.
FRESH_S = 30
#: How long, and at which interval in seconds, a just started controller is queried again about a
#: job that it refuses: its nodes register within some seconds (22.05, a busy machine).
REGISTER_S, REGISTER_PAUSE_S = 10, 1
_answered_at: dict[str, float] = {}


@dataclass(frozen=True)
class Objections:
    """Objections of SLURM to jobs that are not submitted yet."""

    refused: tuple[str, ...] = ()
    """Jobs that SLURM would refuse, now and later."""
    waits: tuple[str, ...] = ()
    """Jobs that SLURM would accept but not start now: nodes or partitions are down."""


class SlurmBackend:
    """Submits, queries and cancels jobs.

    `patience_s`: how long a submission waits for a controller that is down, e.g. restarting.
    """

    def __init__(self, patience_s: int = 60) -> None:
        self.patience_s = patience_s

    def preflight(self) -> list[str]:
        """Problems of every job: no SLURM here, or no controller."""
        if not shutil.which("sbatch") or not shutil.which("srun"):
            return [NO_SBATCH]
        try:
            if not self.answers():
                return [NO_CONTROLLER]
        except TransientError as error:
            return [str(error)]
        return []

    def objections(self, jobs: Sequence[Job]) -> Objections:
        """Test jobs with `sbatch --test-only`, once for equal resources; submits nothing.

        Raises: SchedulerUnavailable if SLURM does not answer.
        """
        from hala_hpc.backends.slurm.node_states import closed_partitions

        tried: dict[str, Job] = {}
        for job in jobs:
            tried.setdefault(repr(job.resources), job)
        found = [self._objections(job) for job in tried.values()]
        asked = dict.fromkeys(job.resources.options.get("partition", "") for job in jobs)
        closed = dict.fromkeys(name for one in asked for name in closed_partitions(one))
        waits = [text for one in found for text in one.waits]
        waits += [f"partition {name} is DOWN: jobs wait until it is UP" for name in closed]
        return Objections(tuple(text for one in found for text in one.refused), tuple(waits))

    def submit(self, job: Job) -> str:
        """Submit a job or array; return its id.

        Raises: JobRefused if SLURM refuses it; JobLimitReached if a limit on jobs or array size is
        reached; NodesUnavailable if none of its nodes is up; SchedulerUnavailable if SLURM does
        not answer.
        """
        flags = sbatch_flags(job)
        if not shutil.which("sbatch"):
            raise UserError(NO_SBATCH, UNAVAILABLE)
        check_ids(job)
        self._wait_for_controller()
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        from hala_hpc.backends.slurm.executor import submit_script

        with _outside_of_jobs(), contextlib.redirect_stderr(io.StringIO()):
            job.folder.mkdir(parents=True, exist_ok=True)
            if job.folder.stat().st_uid == os.geteuid():
                job.folder.chmod(folder_bits())
            try:
                return submit_script(flags, script_file(), script_arguments(job))
            except (FailedJobError, FailedSubmissionError) as error:
                raise _refused(job, str(error)) from error

    def command(self, job: Job) -> list[str]:
        """The command that `submit` would run.

        Ids of future jobs may be placeholders in angle brackets, e.g. `<gate of sft>`.
        """
        return ["sbatch", *sbatch_flags(job), str(script_file()), *script_arguments(job)]

    def query_queue(self, ids: Sequence[str] | None = None) -> list[client.QueueRow]:
        """Rows of squeue for some jobs, or for all of this user.

        Raises: SchedulerUnavailable if SLURM does not answer.
        """
        return client.query_queue(ids)

    def query_usage(self, jobs: "Collection[NamedJob]") -> "dict[NamedJob, JobUsage] | None":
        """Usage of jobs by accounting; None if it does not answer."""
        # Imported here, as a dry run does not need it.
        from hala_hpc.backends.slurm import sacct

        return sacct.query_usage(jobs)

    def replace_dependency(self, old_id: str, new_id: str) -> list[str]:
        """Make the jobs that depend on `old_id` depend on `new_id`; return their ids."""
        return client.replace_dependency(old_id, new_id)

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel jobs; ended jobs are ignored."""
        client.cancel(ids)

    def answers(self) -> bool:
        """Whether a controller answers."""
        return " UP" in client.run_slurm("scontrol", "ping").stdout

    def _objections(self, job: Job) -> Objections:
        """Test one job with `--test-only`.

        `--test-only` judges the current state: it refuses jobs that sbatch would accept and queue.
        """
        try:
            command = self.command(job)
        except UserError as error:
            return Objections(tuple(error.mistakes))
        # The folder and the gates before it do not exist yet, and arrays are reduced to fit.
        late = ("--chdir=", "--output=", "--dependency=", "--array=")
        arguments = [argument for argument in command[1:] if not argument.startswith(late)]
        done = client.run_slurm("sbatch", "--test-only", *arguments)
        if not done.returncode:
            return Objections()
        from hala_hpc.backends.slurm.node_states import lacks_nodes_now

        first = _refused(job, done.stderr)
        refused = self._still_refused(job, arguments) if isinstance(first, JobRefused) else first
        if refused is None:
            return Objections()
        if isinstance(refused, JobLimitReached):
            # No objection: a submission uses fewer tasks, or waits for room.
            return Objections()
        if isinstance(refused, SchedulerUnavailable):
            raise refused
        if isinstance(refused, NodesUnavailable) or lacks_nodes_now(job.resources):
            text = f"job {job.name!r} will wait: too few of its possible nodes are up now"
            return Objections(
                waits=(f"{text} (drained, down or reserved; `sinfo -R` shows the reasons)",)
            )
        return Objections(tuple(refused.mistakes))

    def _still_refused(
        self, job: Job, arguments: Sequence[str]
    ) -> JobRefused | JobLimitReached | NodesUnavailable | SchedulerUnavailable | None:
        """Test again a job that was just refused; None if it is accepted now.

        Its nodes may have come back since the refusal. A just started controller refuses jobs
        while sinfo already shows their nodes, so it is queried for a while.
        """
        from hala_hpc.backends.slurm.node_states import controller_just_started

        until_s = time.monotonic() + (REGISTER_S if controller_just_started() else 0)
        while True:
            done = client.run_slurm("sbatch", "--test-only", *arguments)
            if not done.returncode:
                return None
            refused = _refused(job, done.stderr)
            if not isinstance(refused, JobRefused) or time.monotonic() >= until_s:
                return refused
            time.sleep(REGISTER_PAUSE_S)

    def _wait_for_controller(self) -> None:
        """Wait until the controller answers: sbatch is not repeated, as it may have worked.

        Raises: SchedulerUnavailable if it does not answer within `patience_s`.
        """
        cluster = os.environ.get("SLURM_CONF", "")
        if time.monotonic() - _answered_at.get(cluster, -FRESH_S) < FRESH_S:
            return
        until_s = time.monotonic() + self.patience_s
        while not self.answers():
            if time.monotonic() > until_s:
                raise SchedulerUnavailable(
                    "SLURM's controller does not answer; nothing was submitted"
                )
            time.sleep(2)
        _answered_at[cluster] = time.monotonic()


def script_file() -> Path:
    """The script of all jobs."""
    return shipped_folder("slurm") / "job.sbatch"


def _refused(
    job: Job, stderr: str
) -> JobRefused | JobLimitReached | NodesUnavailable | SchedulerUnavailable:
    """Convert sbatch's error output into an exception, without the command's name on each line."""
    prefix = re.compile(r"^(sbatch|allocation failure): (error: )?")
    lines = [prefix.sub("", line) for line in stderr.splitlines()]
    if FULL.search(stderr):
        return JobLimitReached(f"job {job.name!r}: {'; '.join(lines)}")
    if client.is_unreachable(stderr):
        return SchedulerUnavailable(f"job {job.name!r}: {'; '.join(lines)}")
    text = f"job {job.name!r}: SLURM refuses it: {'; '.join(lines)}"
    options = job.resources.options
    from hala_hpc.backends.slurm.node_states import find_candidate_nodes

    try:
        candidates = find_candidate_nodes(options)
    except SchedulerUnavailable as error:
        return error
    if candidates.is_away:
        where = f"partition {options['partition']}" if "partition" in options else "its partition"
        return NodesUnavailable(
            f"{text} (none of the {len(candidates.usable)} nodes of {where} is up now)"
        )
    if excluded := options.get("exclude"):
        text += f"; options.exclude={excluded}"
    return JobRefused(text, CONFIG)


@contextlib.contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Submit as from a login node, without the variables of a surrounding job.

    The files that SLURM makes are private, or shared as those of this process.
    """
    before, mask = dict(os.environ), os.umask(UMASKS[current_share()])
    clean = client.clean_environment()
    try:
        for key in before.keys() - clean.keys():
            del os.environ[key]
        os.environ.update(clean)
        yield
    finally:
        os.environ.update(before)
        os.umask(mask)
