"""GPU hours of the nodes of a run, from SLURM's accounting or from what the workers wrote down.

Both may know too little: accounting comes late or is away, and a worker that is killed leaves no
word. Both only miss, so the greater of the two is the better. A job counts by its number and its
name, with the key of its round: accounting knows other jobs of the same number after a controller
lost its state. Runs on this machine count nothing: what a recipe asks of a cluster says nothing of
the GPUs here.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.backends.slurm.sacct import JobUsage, NamedJob
from hala_hpc.core.artifact import MAX_PROGRESS_AGE_S, Artifact
from hala_hpc.jobs.attempt_records import attempt_names, iter_attempt_ends
from hala_hpc.jobs.spec import job_name

HOUR_S = 3600

#: Asks accounting what jobs have used; None when it does not answer.
UsageQuery = Callable[[set[NamedJob]], Mapping[NamedJob, JobUsage] | None]


@dataclass(frozen=True)
class GpuWork:
    """A node that asks a scheduler for GPUs."""

    artifact: Artifact
    gpus: int
    """Of one worker, over all its machines, in the newest round."""


def gpu_work(artifact: Artifact) -> GpuWork | None:
    """The GPUs of a node; None where it was never submitted or asks for no GPU."""
    newest = artifact.newest_round_if_valid()
    if newest is None or newest.spec.is_local:
        return None
    gpus = newest.spec.resources.nodes * newest.spec.resources.gpus_per_node
    return GpuWork(artifact, gpus) if gpus else None


def worker_jobs(artifact: Artifact) -> set[NamedJob]:
    """The jobs and arrays of a node's workers, over all rounds; its gates have no GPU.

    Without those of a damaged round, of which nobody knows the key: their attempts have their own
    records.
    """
    numbers = {(name.round, name.job_id) for name in attempt_names(artifact)}
    if (jobs := artifact.jobs()) and jobs.workers:
        numbers.add((jobs.round, jobs.workers))
    rounds = {number: artifact.round_if_valid(number) for number in {one for one, _ in numbers}}
    return {
        NamedJob(number, job_name("", artifact, asked.key))
        for place, number in numbers
        if (asked := rounds[place])
    }


def gpu_works(folder: Path) -> list[GpuWork]:
    """Every result in a work folder that asked for GPUs, also those of other lines."""
    begun = (Artifact(path.parent) for path in sorted(folder.glob("*/config.json")))
    return [found for artifact in begun if (found := gpu_work(artifact))]


def measure_gpu_hours(folder: Path, query_usage: UsageQuery) -> dict[Artifact, float]:
    """GPU hours of every result in a work folder; accounting is asked once, for all jobs."""
    jobs = {work: worker_jobs(work.artifact) for work in gpu_works(folder)}
    accounts = query_usage({job for ours in jobs.values() for job in ours}) or {}
    return {
        work.artifact: gpu_hours(work, [accounts[job] for job in ours if job in accounts])
        for work, ours in jobs.items()
    }


def gpu_hours(work: GpuWork, accounts: Sequence[JobUsage]) -> float:
    """GPU hours that a node has spent until now; `accounts` are those of its jobs."""
    accounted = sum(
        one.seconds * work.gpus if one.gpu_seconds is None else one.gpu_seconds for one in accounts
    )
    recorded = sum(seconds_of_attempts(work.artifact)) * work.gpus
    return round(max(accounted, recorded) / HOUR_S, 3)


def seconds_of_attempts(artifact: Artifact) -> Iterator[float]:
    """Seconds of every attempt that ended with a word, and of those at work."""
    for end in iter_attempt_ends(artifact):
        if end.rank == 0:
            yield end.record.seconds
    for progress in artifact.progress():
        ended = progress.ended or artifact.attempt_file(progress.attempt).exists()
        if not ended and time.time() - progress.time < MAX_PROGRESS_AGE_S:
            yield progress.seconds
