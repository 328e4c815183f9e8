"""Compute the status of a node from its folder and its active jobs."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from hala_hpc.backends.slurm.client import QueueRow
from hala_hpc.commands.monitoring.node_reasons import (
    NO_REASON,
    NodeReason,
    NodeReasonKind,
    explain_lost_jobs,
    explain_node,
    find_output_faults,
)
from hala_hpc.commands.monitoring.slurm_jobs import was_submitted
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import Damaged
from hala_hpc.core.records import NodeSummary, UnitMarker
from hala_hpc.core.run import RunNode
from hala_hpc.jobs.attempt_records import has_records
from hala_hpc.jobs.progress import NodeProgress, summarize_progress
from hala_hpc.jobs.submission import has_pending_sbatch
from hala_hpc.jobs.waiting_list import waits_for_room

#: Array tasks of one pending row, e.g. `4-63%8` or `1,3,7-9`.
RANGE = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?")


class RowsCounted(NamedTuple):
    """Number of rows by outcome."""

    rows_in: int
    rows_out: int
    rejected: int
    rejected_content: int
    """Rejected rows whose own content is the cause."""


NO_ROWS = RowsCounted(0, 0, 0, 0)


@dataclass(frozen=True)
class NodeStatus:
    """Status of one node."""

    name: str
    stage: str
    state: str
    """done, damaged, partial, running, waiting, failed, new or stale."""
    units: int
    units_done: int
    rows_in: int
    rows_out: int
    rows_rejected: int
    rows_rejected_content: int
    """Rejected rows whose own content is the cause."""
    progress: NodeProgress | None = None
    """Progress and remaining time while it runs."""
    why: NodeReason = NO_REASON
    """Why it waits or has failed, and what was changed since it started."""
    expected_start: str | None = None
    """Start of the pending jobs as SLURM expects it, in the cluster's time zone."""
    workers_running: int = 0
    workers_waiting: int = 0
    gpu_hours: float | None = None
    """Hours spent so far; None if no GPU is requested, or no scheduler counts them."""
    gpu_hours_estimate: float | None = None
    """Estimated hours of the whole node at its first launch; None if they were unknown."""

    def to_values(self) -> dict[str, Any]:
        """JSON values for other programs; `why` is a text there."""
        return {**asdict(self), "why": self.why.text}


def node_status(
    node: RunNode,
    queue_rows: Sequence[QueueRow],
    gpu_hours: float | None = None,
    scheduler_answers: bool = True,
) -> NodeStatus:
    """Compute the status of a node; `queue_rows`: its active jobs in the scheduler's queue.

    If the scheduler does not answer, it is unknown whether missing jobs are gone. A node with a
    damaged record has only that status.
    """
    try:
        return compute_status(node, queue_rows, gpu_hours, scheduler_answers)
    except Damaged as error:
        reason = NodeReason(NodeReasonKind.DAMAGED, error.mistakes[0])
        counts = (node.units, 0, *NO_ROWS)
        return NodeStatus(
            node.name, node.stage, "damaged", *counts, why=reason, gpu_hours=gpu_hours
        )


def compute_status(
    node: RunNode, queue_rows: Sequence[QueueRow], gpu_hours: float | None, scheduler_answers: bool
) -> NodeStatus:
    """As `node_status`. Raises: Damaged."""
    artifact = node.artifact
    done = node.units - len(artifact.missing_units(node.units))
    state = compute_node_state(artifact, done, queue_rows, scheduler_answers)
    is_lost = (
        scheduler_answers
        and not queue_rows
        and state in ("partial", "new")
        and was_submitted(artifact)
    )
    waiting = [row for row in queue_rows if row.state != "running"]
    workers = [row for row in queue_rows if not row.name.startswith("gate-")]
    config = artifact.config()
    return NodeStatus(
        node.name,
        node.stage,
        state,
        node.units,
        done,
        *row_counts(artifact),
        progress=summarize_progress(artifact, node.units) if state == "running" else None,
        why=explain_lost_jobs(artifact) if is_lost else explain_node(artifact, state, queue_rows),
        expected_start=expected_start(waiting) if state in ("waiting", "running") else None,
        workers_running=sum(row.state == "running" for row in workers),
        workers_waiting=sum(count_array_tasks(row) for row in workers if row.state != "running"),
        gpu_hours=gpu_hours,
        gpu_hours_estimate=config.gpu_hours_estimate if config else None,
    )


def compute_node_state(
    artifact: Artifact, done: int, queue_rows: Sequence[QueueRow], scheduler_answers: bool = True
) -> str:
    """State of a node as one word; markers on the disk take precedence over the scheduler.

    Heartbeats count only if the scheduler's state is unknown: the last one of a killed worker is
    fresh for a minute.
    """
    if artifact.summary() is not None:
        # Readers of a cleaned output are done, or the launch makes it again.
        is_damaged = find_output_faults(artifact) and not artifact.removed_output()
        return "damaged" if is_damaged else "done"
    if queue_rows:
        return "running" if any(row.state == "running" for row in queue_rows) else "waiting"
    # The failure record was written last; a heartbeat of the last minute is older.
    if artifact.failure_file.exists():
        return "failed"
    if not (scheduler_answers and has_known_jobs(artifact)) and artifact.is_alive():
        return "running"
    if waits_for_room(artifact):
        return "waiting"
    return "partial" if done or has_records(artifact) else "new"


def has_known_jobs(artifact: Artifact) -> bool:
    """Whether the ids of all jobs of the newest round were recorded."""
    return was_submitted(artifact) and not has_pending_sbatch(artifact)


def expected_start(waiting: Sequence[QueueRow]) -> str | None:
    """When the first pending job is expected to start; None if SLURM has no estimate."""
    starts = [row.start for row in waiting if row.start[:1].isdigit()]
    now = datetime.now().isoformat(timespec="seconds")
    return min((start for start in starts if start >= now), default=None)


def count_array_tasks(row: QueueRow) -> int:
    """Number of array tasks of one row of the queue."""
    ranges = RANGE.finditer(row.elements.partition("%")[0])
    return sum(int(m["last"] or m["first"]) - int(m["first"]) + 1 for m in ranges) or 1


def row_counts(artifact: Artifact) -> RowsCounted:
    """Sum the rows of the units that have a marker."""
    summary = artifact.summary()
    if summary is not None:
        return counts_in(summary)
    counts = [read_unit_counts(artifact, unit) for unit in artifact.done_units()]
    return RowsCounted(*(sum(column) for column in zip(NO_ROWS, *counts, strict=True)))


@cache
def read_unit_counts(artifact: Artifact, unit: int) -> RowsCounted:
    """Rows of a finished unit; cached, as markers never change and there may be thousands."""
    marker = artifact.marker(unit)
    return counts_in(marker) if marker else NO_ROWS


def counts_in(counted: UnitMarker | NodeSummary) -> RowsCounted:
    """Rows of a unit or a node; 0 if no rows are counted."""
    content = counted.rows_rejected_content
    return RowsCounted(counted.rows_in, counted.rows_out, counted.rows_rejected, content)


def list_unfinished_job_ids(nodes: Sequence[RunNode]) -> list[str]:
    """Ids of the newest jobs of all nodes that are not done."""
    finished = (NodeSummary.read_if_valid(node.artifact.summary_file) for node in nodes)
    open_ = (node for node, summary in zip(nodes, finished, strict=True) if summary is None)
    return [number for node in open_ for number in node.artifact.job_ids()]
