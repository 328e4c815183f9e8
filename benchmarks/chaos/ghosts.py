"""Jobs that run in SLURM's records only: a killed controller has forgotten their end."""

from collections.abc import Iterable

from benchmarks.chaos.queued_jobs import QueuedJob

#: Seconds without a process after which a RUNNING job is a ghost. It is longer than a job takes
#: until its first process, and shorter than the time after which a run counts as hanging.
GHOST_S = 120.0


class Ghosts:
    """Jobs that run without a process, and since when."""

    def __init__(self) -> None:
        self.since: dict[tuple[str, str], float] = {}
        """By the job's own id and its start time: a requeue is another job."""

    def find(self, queue: Iterable[QueuedJob], at_work: set[str], now_s: float) -> list[QueuedJob]:
        """Return the jobs that have been without a process for GHOST_S; each once in that time.

        `at_work` are the ids of jobs that have a process; `now_s` is the monotonic clock.
        """
        empty = [job for job in queue if job.state == "RUNNING" and job.number not in at_work]
        self.since = {
            (job.element, job.start): self.since.get((job.element, job.start), now_s)
            for job in empty
        }
        ghosts = [job for job in empty if now_s - self.since[job.element, job.start] > GHOST_S]
        for job in ghosts:
            del self.since[job.element, job.start]
        return ghosts
