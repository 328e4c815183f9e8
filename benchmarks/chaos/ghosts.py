"""Jobs that run in SLURM's books only: a controller that was killed has forgotten their end."""

from collections.abc import Iterable

from benchmarks.chaos.queued_jobs import QueuedJob

#: Seconds without a process after which a job that is said to run is one of these: longer than a
#: job takes from its start to the first process of ours, and shorter than what makes a run hang.
GHOST_S = 120.0


class Ghosts:
    """What was seen running without a process, and since when."""

    def __init__(self) -> None:
        self.since: dict[tuple[str, str], float] = {}
        """By the job's own id and the time when it began: a requeue begins anew."""

    def find(self, queue: Iterable[QueuedJob], at_work: set[str], now_s: float) -> list[QueuedJob]:
        """The jobs that have been without a process for so long; each is told once in that time.

        `at_work` are the numbers of jobs that have a process, `now_s` is the monotonic clock.
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
