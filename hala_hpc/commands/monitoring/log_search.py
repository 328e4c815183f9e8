"""Which log tells of the first failure of a run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import entries_of
from hala_hpc.core.errors import NO_INPUT, RETRY
from hala_hpc.core.job_records import FailureReport
from hala_hpc.core.run import RunNode
from hala_hpc.jobs.attempt_records import AttemptName, attempt_ends
from hala_hpc.jobs.log_file import parts_of

#: A log of one rank of a worker, e.g. `worker-00003-0000.log`.
WORKER_LOG = re.compile(r"worker-(?P<worker>\d{5,})-(?P<rank>\d{4,})\.log", re.ASCII)


@dataclass(frozen=True)
class Place:
    """A rank of a worker of a node, and one of its attempts; None: the newest."""

    node: RunNode
    worker: int
    rank: int = 0
    attempt: str | None = None

    @property
    def path(self) -> Path:
        """The log."""
        return self.node.artifact.log_file(self.worker, self.rank)


def failed_node(nodes: Sequence[RunNode]) -> RunNode | None:
    """The node that failed last; those that only missed its result come after all others."""
    failed: list[tuple[FailureReport, RunNode]] = []
    for node in nodes:
        report = node.artifact.failure()
        if report and node.artifact.summary() is None:
            failed.append((report, node))
    if not failed:
        return None
    return max(failed, key=lambda pair: (pair[0].code != NO_INPUT, pair[0].time))[1]


def first_failure(node: RunNode) -> Place | None:
    """The attempt of the newest round that failed first, else one that was killed or stopped.

    None where no worker of that round began, or none is to blame.
    """
    number = node.artifact.last_round()
    ends = [end for end in attempt_ends(node.artifact) if end.round == number]
    failed = [end for end in ends if end.has_failed]
    stopped = [end for end in ends if end.record.code == RETRY]
    if failed or (stopped and not silent(node.artifact, number)):
        end = (failed or stopped)[0]
        return Place(node, end.worker, end.rank, end.name)
    return next((Place(node, *which) for which in silent(node.artifact, number)), None)


def silent(artifact: Artifact, number: int) -> list[tuple[int, int, str]]:
    """Worker, rank and name of attempts of a round that began and left no word."""
    found, told = [], {(end.name, end.rank) for end in attempt_ends(artifact)}
    for path, worker, rank in worker_logs(artifact):
        for part in parts_of(path):
            if is_of_round(part.attempt, number) and (part.attempt, rank) not in told:
                found.append((worker, rank, part.attempt))
    return found


def newest_failure(nodes: Sequence[RunNode]) -> Place | None:
    """The attempt that failed last, in a run of which no node has failed."""
    ends = [(end, node) for node in nodes for end in attempt_ends(node.artifact) if end.has_failed]
    if not ends:
        return None
    end, node = max(ends, key=lambda pair: pair[0].ended)
    return Place(node, end.worker, end.rank, end.name)


def newest_log(nodes: Sequence[RunNode]) -> Place | None:
    """The log that was written last."""
    logs = [
        (path.stat().st_mtime, Place(node, worker))
        for node in nodes
        for path, worker, rank in worker_logs(node.artifact)
        if rank == 0
    ]
    return max(logs, key=lambda pair: pair[0])[1] if logs else None


def worker_logs(artifact: Artifact) -> list[tuple[Path, int, int]]:
    """The logs of a node with numbers of worker and rank; names that are almost right are none.

    Raises UserError where they cannot be read.
    """
    found = []
    for name in sorted(entries_of(artifact.logs)):
        match = WORKER_LOG.fullmatch(name)
        if match and (artifact.logs / name).is_file():
            found.append((artifact.logs / name, int(match["worker"]), int(match["rank"])))
    return found


def scheduler_logs(artifact: Artifact) -> list[Path]:
    """What the newest jobs of a node printed beside the workers' logs: those of its gate last.

    Those of the gate alone where the workers wrote logs of their own.
    """
    ids = artifact.job_ids()[-1:] if has_begun(artifact) else artifact.job_ids()
    found = [path for i in ids for path in sorted(artifact.logs.glob(f"job-{i}*.out"))]
    return [path for path in found if path.is_file() and path.stat().st_size]


def has_begun(artifact: Artifact) -> bool:
    """Whether a worker of the newest round has written into its log."""
    number, logs = artifact.last_round(), worker_logs(artifact)
    return any(is_of_round(part.attempt, number) for path, _, _ in logs for part in parts_of(path))


def is_of_round(attempt: str, number: int) -> bool:
    """Whether an attempt belongs to a round."""
    name = AttemptName.parse(attempt)
    return name is not None and name.round == number
