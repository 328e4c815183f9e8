"""How far a node is: from its folder, and from its living jobs."""

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

#: Elements of an array that wait together, e.g. `4-63%8` or `1,3,7-9`.
RANGE = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?")


class RowsCounted(NamedTuple):
    """Where rows went."""

    rows_in: int
    rows_out: int
    rejected: int
    rejected_content: int
    """Of the rejected ones those that are themselves the cause."""


NO_ROWS = RowsCounted(0, 0, 0, 0)


@dataclass(frozen=True)
class NodeStatus:
    """How far one node is."""

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
    """Of the rejected rows those that are themselves the cause."""
    progress: NodeProgress | None = None
    """How far it is and what time is left, while it runs."""
    why: NodeReason = NO_REASON
    """Why it waits or has failed, and what was changed since it began."""
    expected_start: str | None = None
    """When SLURM means to start what waits, in the time of the cluster."""
    workers_running: int = 0
    workers_waiting: int = 0
    gpu_hours: float | None = None
    """Spent until now; None where no GPU is asked for, or no scheduler counts them."""
    gpu_hours_estimate: float | None = None
    """What it was to take in all when it was first launched; None where nobody knew."""

    def to_values(self) -> dict[str, Any]:
        """JSON values for other programs; the reason is a text there."""
        return {**asdict(self), "why": self.why.text}


def node_status(
    node: RunNode,
    queue_rows: Sequence[QueueRow],
    gpu_hours: float | None = None,
    scheduler_answers: bool = True,
) -> NodeStatus:
    """Status of a node; `seen` has the rows of its living jobs in the scheduler's queue.

    Where that does not answer nobody knows whether jobs that are not seen are gone. A node of which
    a file is damaged says so, and nothing else.
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
    """One word. Marks on the disk come before what the scheduler says.

    A sign of life counts only where no scheduler knows better: of a worker that was killed the last
    one is fresh for a minute.
    """
    if artifact.summary() is not None:
        return "damaged" if find_output_faults(artifact) else "done"
    if queue_rows:
        return "running" if any(row.state == "running" for row in queue_rows) else "waiting"
    # It was written after everything else; a sign of life of the last minute is older.
    if artifact.failure_file.exists():
        return "failed"
    if not (scheduler_answers and has_known_jobs(artifact)) and artifact.is_alive():
        return "running"
    if waits_for_room(artifact):
        return "waiting"
    return "partial" if done or has_records(artifact) else "new"


def has_known_jobs(artifact: Artifact) -> bool:
    """Whether the ids of all jobs of the newest round were written down."""
    return was_submitted(artifact) and not has_pending_sbatch(artifact)


def expected_start(waiting: Sequence[QueueRow]) -> str | None:
    """When the first of those that wait is to start; None when SLURM does not say."""
    starts = [row.start for row in waiting if row.start[:1].isdigit()]
    now = datetime.now().isoformat(timespec="seconds")
    return min((start for start in starts if start >= now), default=None)


def count_array_tasks(row: QueueRow) -> int:
    """How many elements of an array one row stands for."""
    ranges = RANGE.finditer(row.elements.partition("%")[0])
    return sum(int(m["last"] or m["first"]) - int(m["first"]) + 1 for m in ranges) or 1


def row_counts(artifact: Artifact) -> RowsCounted:
    """Rows of the units that have a mark."""
    summary = artifact.summary()
    if summary is not None:
        return counts_in(summary)
    counts = [read_unit_counts(artifact, unit) for unit in artifact.done_units()]
    return RowsCounted(*(sum(column) for column in zip(NO_ROWS, *counts, strict=True)))


@cache
def read_unit_counts(artifact: Artifact, unit: int) -> RowsCounted:
    """Rows of a finished unit; read once, as a mark never changes, and there may be thousands."""
    marker = artifact.marker(unit)
    return counts_in(marker) if marker else NO_ROWS


def counts_in(counted: UnitMarker | NodeSummary) -> RowsCounted:
    """Rows of a unit or a node; 0 where no rows are counted."""
    content = counted.rows_rejected_content
    return RowsCounted(counted.rows_in, counted.rows_out, counted.rows_rejected, content)


def list_unfinished_job_ids(nodes: Sequence[RunNode]) -> list[str]:
    """Ids of the newest jobs of all nodes that are not done."""
    finished = (NodeSummary.read_if_valid(node.artifact.summary_file) for node in nodes)
    open_ = (node for node, summary in zip(nodes, finished, strict=True) if summary is None)
    return [number for node in open_ for number in node.artifact.job_ids()]
