"""Jobs of a run that still have something before them, found by the folder that they work in.

Not by the ids in `jobs.json` alone: a gate that is ended while it submits has not written them.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hala_hpc.backends.slurm.client import Seen
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.run import RunNode
from hala_hpc.jobs.spec import is_named_after


@dataclass(frozen=True)
class LivingJob:
    """A job, or an array of them, of one node."""

    id: str
    node: str
    is_gate: bool
    running: int
    """Elements of the array that run, or 1."""
    waits: bool
    """Whether the job, or some element of it, waits."""

    def count(self) -> str:
        """`3 running, others waiting`."""
        parts = [f"{self.running} running"] if self.running else []
        if self.waits:
            parts.append("others waiting" if self.running else "waiting")
        return ", ".join(parts)


def living_jobs(nodes: list[RunNode]) -> list[LivingJob]:
    """Every living job of some nodes; one question to the scheduler, none without jobs.

    Raises Retry when it does not answer.
    """
    if not any(was_submitted(node.artifact) for node in nodes):
        return []
    from hala_hpc.backends.slurm.backend import SlurmBackend

    rows: dict[str, list[Seen]] = {}
    for seen in SlurmBackend().look():
        rows.setdefault(seen.id, []).append(seen)
    homes = {str(node.artifact.logs.resolve()): node for node in nodes}
    ids = {number: node for node in nodes for number in node.artifact.job_ids()}
    found = []
    for number, job in rows.items():
        node = homes.get(resolved(job[0].folder)) or ids.get(number)
        if node is not None and is_named_after(node.artifact, job[0].name):
            found.append(living_job(number, node, job))
    return found


def living_job(number: str, node: RunNode, seen: list[Seen]) -> LivingJob:
    """One job by all its rows."""
    states = [row.state for row in seen]
    running = states.count("running")
    return LivingJob(
        number, node.name, seen[0].name.startswith("gate-"), running, running < len(states)
    )


def was_submitted(artifact: Artifact) -> bool:
    """Whether a round of this node was meant for a scheduler."""
    newest = artifact.sound_newest_round()
    if newest is None:
        # Of a damaged round only its jobs tell.
        return bool(artifact.job_ids())
    return not newest.spec.is_local


@cache
def resolved(folder: str) -> str:
    """A folder without links."""
    return str(Path(folder).resolve())
