"""How far a node is and why it goes no further: from its folder, and from its living jobs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from hala_hpc.backends.slurm_queue import Seen
from hala_hpc.backends.slurm_reasons import plain_reason
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.files import read_json
from hala_hpc.jobs.failures.policy import newest_changes
from hala_hpc.feed import waits_for_room
from hala_hpc.node_progress import NodeProgress, progress_of
from hala_hpc.run_folder import RunNode, input_folders

#: Elements of an array that wait together, e.g. `4-63%8` or `1,3,7-9`.
RANGE = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?")

ROOM = (
    "waits for room: the cluster takes no more jobs of yours now. The node that ends next submits "
    "it; when none is at work, give the line of the launch again"
)

#: The first reasons of a failure tell enough.
REASONS = 3


@dataclass(frozen=True)
class NodeStatus:
    """How far one node is."""

    name: str
    stage: str
    state: str
    """done, partial, running, waiting, failed, new or stale."""
    units: int
    units_done: int
    rows_in: int
    rows_out: int
    rows_rejected: int
    progress: NodeProgress | None = None
    """How far it is and what time is left, while it runs."""
    why: str = ""
    """Why it waits or has failed."""
    expected_start: str | None = None
    """When SLURM means to start what waits, in the time of the cluster."""
    workers_running: int = 0
    workers_waiting: int = 0
    gpu_hours: float | None = None
    """Spent until now; None where no GPU is asked for, or no scheduler counts them."""
    gpu_hours_estimate: float | None = None
    """What it was to take in all when it was first launched; None where nobody knew."""


def node_status(node: RunNode, seen: Sequence[Seen], gpu_hours: float | None = None) -> NodeStatus:
    """Status of a node; `seen` has the rows of its living jobs in the scheduler's queue."""
    artifact = node.artifact
    done = len(artifact.done_units())
    state = state_of(artifact, done, seen)
    waiting = [row for row in seen if row.state != "running"]
    workers = [row for row in seen if not row.name.startswith("gate-")]
    return NodeStatus(
        node.name,
        node.stage,
        state,
        node.units,
        done,
        *row_counts(artifact),
        progress=progress_of(artifact, node.units) if state == "running" else None,
        why=why(artifact, state, waiting),
        expected_start=expected_start(waiting) if state in ("waiting", "running") else None,
        workers_running=sum(row.state == "running" for row in workers),
        workers_waiting=sum(elements(row) for row in workers if row.state != "running"),
        gpu_hours=gpu_hours,
        gpu_hours_estimate=(artifact.config() or {}).get("gpu_hours_estimate"),
    )


def state_of(artifact: Artifact, done: int, seen: Sequence[Seen]) -> str:
    """One word. Marks on the disk come before what the scheduler says."""
    if artifact.summary() is not None:
        return "done"
    if any(row.state == "running" for row in seen) or artifact.is_alive():
        return "running"
    if seen:
        return "waiting"
    if artifact.failure_file.exists():
        return "failed"
    if waits_for_room(artifact):
        return "waiting"
    begun = done or any(artifact.attempt_file("x").parent.glob("*.json"))
    return "partial" if begun else "new"


def why(artifact: Artifact, state: str, waiting: Sequence[Seen]) -> str:
    """Why a node waits, or some of its workers do, or why it failed, and what was changed since."""
    told = why_so(artifact, state, waiting)
    changes = newest_changes(artifact) if state in ("failed", "waiting", "running") else []
    changed = f"changed since it began: {'; '.join(changes[-REASONS:])}" if changes else ""
    return "; ".join(text for text in (told, changed) if text)


def why_so(artifact: Artifact, state: str, waiting: Sequence[Seen]) -> str:
    """Why a node waits, or some of its workers do, or why it failed; else empty."""
    if state == "failed":
        return why_failed(artifact)
    workers = [row for row in waiting if not row.name.startswith("gate-")]
    if state == "running":
        # The gate of a node at work waits for its workers, which is as it should be.
        return reason_of(artifact, workers) if workers else ""
    if state != "waiting":
        return ""
    if workers:
        return reason_of(artifact, workers)
    if not waiting:
        return ROOM
    return f"the workers have ended; its gate: {reason_of(artifact, waiting)}"


def why_failed(artifact: Artifact) -> str:
    """The reasons of a failure without the end of the log, which `hala_hpc.logs` shows."""
    reasons = (read_json(artifact.failure_file) or {}).get("reasons", [])
    first = [text for text in reasons if not text.startswith((" ", "the end of "))][:REASONS]
    return "; ".join(first) or "no reason was given"


def reason_of(artifact: Artifact, waiting: Sequence[Seen]) -> str:
    """The reason of the first that waits; for a dependency, the nodes that it waits for."""
    row = min(waiting, key=lambda row: row.reason == "None")
    inputs = unfinished_inputs(artifact) if row.reason == "Dependency" else []
    return f"waits for {', '.join(inputs)}" if inputs else plain_reason(row.reason, row.id)


def unfinished_inputs(artifact: Artifact) -> list[str]:
    """Names of the nodes that a node takes in and that are not done."""
    folders = [artifact.folder.parent / name for name in input_folders(artifact.config())]
    open_ = [Artifact(folder) for folder in folders if Artifact(folder).summary() is None]
    return [(one.config() or {}).get("node", one.folder.name) for one in open_]


def expected_start(waiting: Sequence[Seen]) -> str | None:
    """When the first of those that wait is to start; None when SLURM does not say."""
    starts = [row.start for row in waiting if row.start[:1].isdigit()]
    now = datetime.now().isoformat(timespec="seconds")
    return min((start for start in starts if start >= now), default=None)


def elements(row: Seen) -> int:
    """How many elements of an array one row stands for."""
    ranges = RANGE.finditer(row.elements.partition("%")[0])
    return sum(int(m["last"] or m["first"]) - int(m["first"]) + 1 for m in ranges) or 1


def row_counts(artifact: Artifact) -> tuple[int, int, int]:
    """Rows in, out and rejected of the units that have a mark."""
    summary = artifact.summary()
    if summary is not None:
        return counts_in(summary)
    counts = [mark_counts(artifact, unit) for unit in artifact.done_units()]
    rows_in, rows_out, rejected = (sum(count[column] for count in counts) for column in range(3))
    return rows_in, rows_out, rejected


@cache
def mark_counts(artifact: Artifact, unit: int) -> tuple[int, int, int]:
    """Rows of a finished unit; read once, as a mark never changes, and there may be thousands."""
    return counts_in(artifact.mark(unit) or {})


def counts_in(mark: dict[str, Any]) -> tuple[int, int, int]:
    """Rows in, out and rejected in a mark; 0 where it does not count rows."""
    return mark.get("rows_in", 0), mark.get("rows_out", 0), mark.get("rows_rejected", 0)


def ids_of_unfinished(nodes: Sequence[RunNode]) -> list[str]:
    """Ids of the newest jobs of all nodes that are not done."""
    return [i for n in nodes if n.artifact.summary() is None for i in n.artifact.job_ids()]
