"""GPU hours of the nodes of a run, from SLURM's accounting or from what the workers wrote down.

Both may know too little: accounting comes late or is away, and a worker that is killed leaves no
word. Both only miss, so the greater of the two is the better. Runs on this machine count nothing:
what a recipe asks of a cluster says nothing of the GPUs here.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.backends.slurm.sacct import Used
from hala_hpc.core.artifact import ALIVE_S, Artifact
from hala_hpc.jobs.attempt_records import attempt_names, records_of

HOUR_S = 3600

#: Asks accounting what jobs have used; None when it does not answer.
Ask = Callable[[set[str]], Mapping[str, Used] | None]


@dataclass(frozen=True)
class GpuWork:
    """A node that asks a scheduler for GPUs."""

    artifact: Artifact
    gpus: int
    """Of one worker, over all its machines, in the newest round."""
    jobs: frozenset[str]
    """Ids of all its jobs and arrays, over all rounds."""


def gpu_work(artifact: Artifact) -> GpuWork | None:
    """The GPUs and jobs of a node; None where it was never submitted or asks for no GPU."""
    newest = artifact.sound_newest_round()
    if newest is None or newest.spec.is_local:
        return None
    gpus = newest.spec.resources.nodes * newest.spec.resources.gpus_per_node
    jobs = {name.job_id for name in attempt_names(artifact)} | set(artifact.job_ids())
    return GpuWork(artifact, gpus, frozenset(jobs)) if gpus else None


def gpu_works(folder: Path) -> list[GpuWork]:
    """Every result in a work folder that asked for GPUs, also those of other lines."""
    begun = (Artifact(path.parent) for path in sorted(folder.glob("*/config.json")))
    return [found for artifact in begun if (found := gpu_work(artifact))]


def hours_in(folder: Path, used: Ask) -> dict[Artifact, float]:
    """GPU hours of every result in a work folder; accounting is asked once, for all jobs."""
    works = gpu_works(folder)
    accounts = used({number for found in works for number in found.jobs})
    return {found.artifact: gpu_hours(found, accounts) for found in works}


def gpu_hours(work: GpuWork, accounts: Mapping[str, Used] | None) -> float:
    """GPU hours that a node has spent until now."""
    told = sum(witnessed(work, accounts or {}))
    marked = sum(seconds_of_attempts(work.artifact)) * work.gpus
    return round(max(told, marked) / HOUR_S, 3)


def witnessed(work: GpuWork, accounts: Mapping[str, Used]) -> Iterator[float]:
    """GPU seconds of each job that accounting knows."""
    for number in work.jobs:
        if seen := accounts.get(number):
            counted = seen.gpu_seconds
            yield seen.seconds * work.gpus if counted is None else counted


def seconds_of_attempts(artifact: Artifact) -> Iterator[float]:
    """Seconds of every attempt that ended with a word, and of those at work."""
    for end in records_of(artifact):
        if end.rank == 0:
            yield end.record.seconds
    for word in artifact.progress():
        ended = word.ended or artifact.attempt_file(word.attempt).exists()
        if not ended and time.time() - word.time < ALIVE_S:
            yield word.seconds
