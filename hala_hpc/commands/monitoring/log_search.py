"""Find the log for `hala_hpc.logs`: of a unit, a worker, an attempt, or the first failure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.commands.arguments import parse_whole_number
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import list_entries
from hala_hpc.core.errors import NO_INPUT, RETRY, UserError
from hala_hpc.core.job_records import FailureReport
from hala_hpc.core.printable import format_command
from hala_hpc.core.run import Run, RunNode
from hala_hpc.jobs.attempt_records import AttemptName, RankAttempt, attempt_ends
from hala_hpc.jobs.job_files import job_files
from hala_hpc.jobs.log_file import list_log_parts

#: Log of one rank of a worker, e.g. `worker-00003-0000.log`.
WORKER_LOG = re.compile(r"worker-(?P<worker>\d{5,})-(?P<rank>\d{4,})\.log", re.ASCII)


@dataclass(frozen=True)
class WorkerLog:
    """Log of a rank of a worker of a node, and one of its attempts; None for the newest."""

    node: RunNode
    worker: int
    rank: int = 0
    attempt: str | None = None

    @property
    def path(self) -> Path:
        """Path of the log."""
        return self.node.artifact.log_file(self.worker, self.rank)


def find_log(run: Run, overrides: dict[str, str]) -> WorkerLog | RunNode:
    """Find the log that the arguments select; only the node if none of its workers started.

    Raises: UserError (NO_INPUT) if there is none.
    """
    nodes = run.find_nodes(overrides["node"]) if "node" in overrides else run.nodes
    if {"unit", "worker", "rank", "attempt"} & overrides.keys():
        return find_named_log(require_one_node(nodes), overrides)
    node = find_failed_node(nodes)
    found: WorkerLog | RunNode | None
    if node:
        found = find_first_failure(node) or node
    else:
        found = find_newest_failure(nodes) or find_unstarted_node(nodes) or find_newest_log(nodes)
    if found is None:
        whose = f" of node={overrides['node']}" if "node" in overrides else ""
        raise UserError(
            f"no worker{whose} has started in {run.work}: there is no log yet; "
            f"{format_command('status', f'work={run.work}')} shows why",
            NO_INPUT,
        )
    return found


def require_one_node(nodes: list[RunNode]) -> RunNode:
    """The only node of a list. Raises: UserError if there are several."""
    if len(nodes) == 1:
        return nodes[0]
    raise UserError(f"name one node: node=..., one of {', '.join(node.name for node in nodes)}")


def find_named_log(node: RunNode, overrides: dict[str, str]) -> WorkerLog:
    """Find the log of a unit, a worker or an attempt."""
    unit, worker, rank = (parse_whole_number(overrides, key) for key in ("unit", "worker", "rank"))
    attempt, parsed = None, RankAttempt.parse(overrides.get("attempt", ""))
    if unit is not None:
        worker, attempt = worker_of_unit(node, unit)
    elif worker is None and parsed:
        worker = parsed.name.worker
    if worker is None:
        failed = find_first_failure(node) if node.artifact.summary() is None else None
        worker, rank = (
            (failed.worker, failed.rank if rank is None else rank) if failed else (0, rank)
        )
    if rank is None:
        rank = rank_that_failed(node.artifact, worker, overrides.get("attempt") or attempt)
    return WorkerLog(node, worker, rank, attempt)


def worker_of_unit(node: RunNode, unit: int) -> tuple[int, str | None]:
    """The worker and attempt that made a unit; else the worker that claimed it or is assigned it.

    Raises: UserError for a unit that the node does not have.
    """
    artifact = node.artifact
    if unit >= node.units:
        raise UserError(f"unit={unit}: {node.name} has units 0 to {node.units - 1}")
    marker = artifact.marker(unit)
    if made := AttemptName.parse(marker.attempt if marker else ""):
        return made.worker, str(made)
    claim, newest = artifact.claim(unit), artifact.newest_round_if_valid()
    shares = newest.assignment if newest else ()
    assigned = next((worker for worker, units in enumerate(shares) if unit in units), None)
    worker = claim.worker if claim else assigned
    if worker is None:
        raise UserError(f"unit={unit}: no worker of {node.name} has claimed it yet", NO_INPUT)
    return worker, None


def rank_that_failed(artifact: Artifact, worker: int, attempt: str | None) -> int:
    """The first rank of a worker that failed in its last attempt, or in the named one; else 0."""
    ends = [end for end in attempt_ends(artifact) if end.worker == worker]
    names = [end.name for end in ends]
    name = attempt if attempt in names else next(reversed(names), None)
    return next((end.rank for end in ends if end.name == name and end.has_failed), 0)


def find_failed_node(nodes: Sequence[RunNode]) -> RunNode | None:
    """The node that failed last; nodes that failed only for a missing input come last."""
    failed: list[tuple[FailureReport, RunNode]] = []
    for node in nodes:
        report = node.artifact.failure()
        if report and node.artifact.summary() is None:
            failed.append((report, node))
    if not failed:
        return None
    return max(failed, key=lambda pair: (pair[0].code != NO_INPUT, pair[0].time))[1]


def find_first_failure(node: RunNode) -> WorkerLog | None:
    """The attempt of the newest round that failed first, else one that was killed or stopped.

    None if no worker of that round started, or none failed or stopped.
    """
    number = node.artifact.last_round()
    ends = [end for end in attempt_ends(node.artifact) if end.round == number]
    failed = [end for end in ends if end.has_failed]
    stopped = [end for end in ends if end.record.code == RETRY]
    if failed or (stopped and not find_silent_attempts(node.artifact, number)):
        end = (failed or stopped)[0]
        return WorkerLog(node, end.worker, end.rank, end.name)
    return next(
        (WorkerLog(node, *which) for which in find_silent_attempts(node.artifact, number)), None
    )


def find_silent_attempts(artifact: Artifact, number: int) -> list[tuple[int, int, str]]:
    """Worker, rank and name of attempts of a round that started and left no record of their end."""
    found, recorded = [], {(end.name, end.rank) for end in attempt_ends(artifact)}
    for path, worker, rank in worker_logs(artifact):
        for part in list_log_parts(path):
            if is_of_round(part.attempt, number) and (part.attempt, rank) not in recorded:
                found.append((worker, rank, part.attempt))
    return found


def find_newest_failure(nodes: Sequence[RunNode]) -> WorkerLog | None:
    """The attempt that failed last among nodes that are not done, if no node has failed."""
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
    return WorkerLog(node, end.worker, end.rank, end.name)


def find_unstarted_node(nodes: Sequence[RunNode]) -> RunNode | None:
    """The first node that is not done whose jobs printed something, but started no worker."""
    for node in nodes:
        artifact = node.artifact
        is_open = artifact.summary() is None and not has_worker_log(artifact)
        if is_open and scheduler_logs(artifact):
            return node
    return None


def find_newest_log(nodes: Sequence[RunNode]) -> WorkerLog | None:
    """The log that was written last."""
    logs = [
        (path.stat().st_mtime, WorkerLog(node, worker))
        for node in nodes
        for path, worker, rank in worker_logs(node.artifact)
        if rank == 0
    ]
    return max(logs, key=lambda pair: pair[0])[1] if logs else None


def worker_logs(artifact: Artifact) -> list[tuple[Path, int, int]]:
    """Logs of a node with the numbers of worker and rank; other file names are ignored.

    Raises: UserError if they cannot be read.
    """
    found = []
    for name in sorted(list_entries(artifact.logs)):
        match = WORKER_LOG.fullmatch(name)
        if match and (artifact.logs / name).is_file():
            found.append((artifact.logs / name, int(match["worker"]), int(match["rank"])))
    return found


def scheduler_logs(artifact: Artifact) -> list[Path]:
    """Output of the newest jobs of a node besides the workers' logs, the gate's last.

    Only the gate's if the workers wrote logs of their own.
    """
    ids = artifact.job_ids()[-1:] if has_worker_log(artifact) else artifact.job_ids()
    return [path for number in ids for path in job_files(artifact, [number])]


def has_worker_log(artifact: Artifact) -> bool:
    """Whether a worker of the newest round has written to its log."""
    number, logs = artifact.last_round(), worker_logs(artifact)
    return any(
        is_of_round(part.attempt, number) for path, _, _ in logs for part in list_log_parts(path)
    )


def is_of_round(attempt: str, number: int) -> bool:
    """Whether an attempt belongs to a round."""
    name = AttemptName.parse(attempt)
    return name is not None and name.round == number
