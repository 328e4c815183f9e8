"""Which log tells of the first failure of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import NO_INPUT, RETRY
from hala_hpc.core.job_records import FailureReport
from hala_hpc.core.run import RunNode
from hala_hpc.jobs.attempt_records import AttemptName, attempt_ends
from hala_hpc.jobs.job_files import job_files
from hala_hpc.jobs.log_file import parts_of


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
    for path in sorted(artifact.logs.glob("worker-[0-9]*.log")):
        worker, rank = map(int, path.stem.split("-")[1:])
        for part in parts_of(path):
            if is_of_round(part.attempt, number) and (part.attempt, rank) not in told:
                found.append((worker, rank, part.attempt))
    return found


def newest_failure(nodes: Sequence[RunNode]) -> Place | None:
    """The attempt that failed last of the nodes that are not done, where no node has failed."""
    ends = [
        (end, node)
        for node in nodes
        if node.artifact.summary() is None
        for end in attempt_ends(node.artifact)
        if end.has_failed
    ]
    if not ends:
        return None
    end, node = max(ends, key=lambda pair: pair[0].ended)
    return Place(node, end.worker, end.rank, end.name)


def never_begun(nodes: Sequence[RunNode]) -> RunNode | None:
    """The first node that is not done, has jobs that printed something, and none that began."""
    for node in nodes:
        artifact = node.artifact
        is_open = artifact.summary() is None and not has_begun(artifact)
        if is_open and scheduler_logs(artifact):
            return node
    return None


def newest_log(nodes: Sequence[RunNode]) -> Place | None:
    """The log that was written last."""
    logs = [(p, n) for n in nodes for p in n.artifact.logs.glob("worker-[0-9]*-0000.log")]
    if not logs:
        return None
    path, node = max(logs, key=lambda pair: pair[0].stat().st_mtime)
    return Place(node, int(path.stem.split("-")[1]))


def scheduler_logs(artifact: Artifact) -> list[Path]:
    """What the newest jobs of a node printed beside the workers' logs: those of its gate last.

    Those of the gate alone where the workers wrote logs of their own.
    """
    ids = artifact.job_ids()[-1:] if has_begun(artifact) else artifact.job_ids()
    return [path for number in ids for path in job_files(artifact, [number])]


def has_begun(artifact: Artifact) -> bool:
    """Whether a worker of the newest round has written into its log."""
    number, logs = artifact.last_round(), artifact.logs.glob("worker-[0-9]*.log")
    return any(is_of_round(part.attempt, number) for path in logs for part in parts_of(path))


def is_of_round(attempt: str, number: int) -> bool:
    """Whether an attempt belongs to a round."""
    name = AttemptName.parse(attempt)
    return name is not None and name.round == number
