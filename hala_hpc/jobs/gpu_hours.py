"""GPU hours of the nodes of a run, from SLURM's accounting or from the records of the workers.

Both may count too little: accounting is late or absent, and a killed worker leaves no record. So
the larger of the two is used. A job counts by its id and its name, which has the key of its
round: after a controller lost its state, accounting has other jobs with the same id. Local runs
count 0: the resources that a recipe requests on a cluster do not describe the GPUs here.
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

#: Queries accounting for the usage of jobs; None if it does not answer.
UsageQuery = Callable[[set[NamedJob]], Mapping[NamedJob, JobUsage] | None]


@dataclass(frozen=True)
class GpuWork:
    """A node whose jobs request GPUs from a scheduler."""

    artifact: Artifact
    gpus: int
    """GPUs of one worker, over all its machines, in the newest round."""


def gpu_work(artifact: Artifact) -> GpuWork | None:
    """The GPUs of a node; None if it was never submitted or requests no GPU."""
    newest = artifact.newest_round_if_valid()
    if newest is None or newest.spec.is_local:
        return None
    gpus = newest.spec.resources.nodes * newest.spec.resources.gpus_per_node
    return GpuWork(artifact, gpus) if gpus else None


def worker_jobs(artifact: Artifact) -> set[NamedJob]:
    """The jobs and arrays of a node's workers, over all rounds; gates use no GPU.

    Jobs of a damaged round are left out, as its key is unknown: their attempts have records.
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
    """Every node in a work folder that requested GPUs, also those of earlier launches."""
    begun = (Artifact(path.parent) for path in sorted(folder.glob("*/config.json")))
    return [found for artifact in begun if (found := gpu_work(artifact))]


def measure_gpu_hours(folder: Path, query_usage: UsageQuery) -> dict[Artifact, float]:
    """GPU hours of every node in a work folder; accounting is queried once, for all jobs."""
    jobs = {work: worker_jobs(work.artifact) for work in gpu_works(folder)}
    accounts = query_usage({job for ours in jobs.values() for job in ours}) or {}
    return {
        work.artifact: gpu_hours(work, [accounts[job] for job in ours if job in accounts])
        for work, ours in jobs.items()
    }


def gpu_hours(work: GpuWork, accounts: Sequence[JobUsage]) -> float:
    """GPU hours that a node has spent until now; `accounts` is the usage of its jobs."""
    accounted = sum(
        one.seconds * work.gpus if one.gpu_seconds is None else one.gpu_seconds for one in accounts
    )
    recorded = sum(seconds_of_attempts(work.artifact)) * work.gpus
    return round(max(accounted, recorded) / HOUR_S, 3)


def seconds_of_attempts(artifact: Artifact) -> Iterator[float]:
    """Seconds of every attempt that left a record, and of running ones."""
    for end in iter_attempt_ends(artifact):
        if end.rank == 0:
            yield end.record.seconds
    for progress in artifact.progress():
        ended = progress.ended or artifact.attempt_file(progress.attempt).exists()
        if not ended and time.time() - progress.time < MAX_PROGRESS_AGE_S:
            yield progress.seconds
