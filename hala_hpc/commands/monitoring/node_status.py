"""How far a node is and why it goes no further: from its folder, and from its living jobs."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

from hala_hpc.backends.slurm.client import Seen, cancel_command
from hala_hpc.backends.slurm.pending_reasons import plain_reason
from hala_hpc.commands.monitoring.slurm_jobs import was_submitted
from hala_hpc.commands.planning.plan import told_faults
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import Damaged
from hala_hpc.core.errors import FailureClass
from hala_hpc.core.file_facts import FileFault
from hala_hpc.core.records import NodeSummary, UnitMarker
from hala_hpc.core.run import RunNode, input_folders
from hala_hpc.jobs.attempt_records import has_records
from hala_hpc.jobs.failures.decision import newest_changes
from hala_hpc.jobs.job_files import file_of_lost_gate, last_line
from hala_hpc.jobs.progress import NodeProgress, progress_of
from hala_hpc.jobs.waiting_list import waits_for_room

#: Elements of an array that wait together, e.g. `4-63%8` or `1,3,7-9`.
RANGE = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?")

ROOM = (
    "waits for room: the cluster takes no more jobs of yours now. The node that ends next submits "
    "it; when none is at work, give the line of the launch again"
)

#: The first reasons of a failure tell enough.
REASONS = 3


class WhyKind(StrEnum):
    """Why a node goes no further."""

    INPUTS = "inputs"
    """Nodes that it takes in are not done."""
    INPUTS_LOST = "inputs_lost"
    """Its jobs are gone, as nodes that it takes in were not finished."""
    GATE_LOST = "gate_lost"
    """Its jobs are gone, and its gate decided nothing."""
    NOT_ENDED = "not_ended"
    """All its units are done, and its workers do not end."""
    SCHEDULER = "scheduler"
    """SLURM has not started its workers yet, for a reason of its own."""
    GATE = "gate"
    """Its workers have ended, and SLURM has not started its gate yet."""
    ROOM = "room"
    """The cluster takes no more jobs of this user."""
    FAILED = "failed"
    DAMAGED = "damaged"
    """It was finished, and its files are not whole any more."""
    INPUT_FAILED = "input_failed"
    """It never began, as a node that it takes in has failed."""


@dataclass(frozen=True)
class Why:
    """Why a node goes no further, and what was changed since it began."""

    kind: WhyKind | None = None
    """None where nothing holds it up."""
    reason: str = ""
    waits_for: tuple[str, ...] = ()
    """Names of the nodes that it waits for."""
    changes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it for people."""
        changes = "; ".join(self.changes[-REASONS:])
        changed = f"changed since it began: {changes}" if changes else ""
        return "; ".join(text for text in (self.reason, changed) if text)


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
    progress: NodeProgress | None = None
    """How far it is and what time is left, while it runs."""
    why: Why = Why()
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
    node: RunNode, seen: Sequence[Seen], gpu_hours: float | None = None, answers: bool = True
) -> NodeStatus:
    """Status of a node; `seen` has the rows of its living jobs in the scheduler's queue.

    Where that does not answer nobody knows whether jobs that are not seen are gone. A node of which
    a file is damaged says so, and nothing else.
    """
    try:
        return told_status(node, seen, gpu_hours, answers)
    except Damaged as error:
        why = Why(WhyKind.DAMAGED, error.mistakes[0])
        return NodeStatus(
            node.name, node.stage, "damaged", node.units, 0, 0, 0, 0, why=why, gpu_hours=gpu_hours
        )


def told_status(
    node: RunNode, seen: Sequence[Seen], gpu_hours: float | None, answers: bool
) -> NodeStatus:
    """As `node_status`. Raises: Damaged."""
    artifact = node.artifact
    done = node.units - len(artifact.missing_units(node.units))
    state = state_of(artifact, done, seen)
    is_lost = answers and not seen and state in ("partial", "new") and was_submitted(artifact)
    waiting = [row for row in seen if row.state != "running"]
    workers = [row for row in seen if not row.name.startswith("gate-")]
    config = artifact.config()
    return NodeStatus(
        node.name,
        node.stage,
        state,
        node.units,
        done,
        *row_counts(artifact),
        progress=progress_of(artifact, node.units) if state == "running" else None,
        why=why_lost(artifact) if is_lost else why(artifact, state, seen),
        expected_start=expected_start(waiting) if state in ("waiting", "running") else None,
        workers_running=sum(row.state == "running" for row in workers),
        workers_waiting=sum(elements(row) for row in workers if row.state != "running"),
        gpu_hours=gpu_hours,
        gpu_hours_estimate=config.gpu_hours_estimate if config else None,
    )


def state_of(artifact: Artifact, done: int, seen: Sequence[Seen]) -> str:
    """One word. Marks on the disk come before what the scheduler says."""
    if artifact.summary() is not None:
        return "damaged" if faults_of(artifact) else "done"
    if seen:
        return "running" if any(row.state == "running" for row in seen) else "waiting"
    # It was written after everything else; a sign of life of the last minute is older.
    if artifact.failure_file.exists():
        return "failed"
    if artifact.is_alive():
        return "running"
    if waits_for_room(artifact):
        return "waiting"
    return "partial" if done or has_records(artifact) else "new"


@cache
def faults_of(artifact: Artifact) -> list[FileFault]:
    """What is wrong with the output of a finished node, by sizes; one look at it a command."""
    summary = artifact.summary()
    return artifact.output_faults(summary) if summary else []


def why_lost(artifact: Artifact) -> Why:
    """Why a node that was submitted has no jobs any more, and neither summary nor failure."""
    if inputs := unfinished_inputs(artifact):
        text = f"its jobs are gone, as {', '.join(inputs)} was not finished"
        return Why(WhyKind.INPUTS_LOST, text, tuple(inputs))
    jobs = artifact.jobs()
    gate = f"its gate, job {jobs.gate}," if jobs and jobs.gate else "its gate"
    text = (
        f"{gate} is gone and decided nothing: it was cancelled, killed, or forgotten by SLURM; the "
        "line of the launch goes on from here"
    )
    if file := file_of_lost_gate(artifact):
        text += f"; {file} ends with: {last_line(file)}"
    return Why(WhyKind.GATE_LOST, text)


def why(artifact: Artifact, state: str, seen: Sequence[Seen]) -> Why:
    """Why a node waits, or some of its workers do, or why it failed, and what was changed since."""
    found = why_so(artifact, state, seen)
    if state not in ("failed", "waiting", "running"):
        return found
    return replace(found, changes=tuple(newest_changes(artifact)))


def why_so(artifact: Artifact, state: str, seen: Sequence[Seen]) -> Why:
    """Why a node waits, or some of its workers do, or why it failed."""
    waiting = [row for row in seen if row.state != "running"]
    if state in ("failed", "damaged"):
        return why_failed(artifact) if state == "failed" else why_damaged(artifact)
    workers = [row for row in waiting if not row.name.startswith("gate-")]
    if state == "running":
        # The gate of a node at work waits for its workers, which is as it should be.
        return why_pending(artifact, workers) if workers else why_not_ended(artifact, seen)
    if state != "waiting":
        return Why()
    if workers:
        return why_pending(artifact, workers)
    if not waiting:
        return Why(WhyKind.ROOM, ROOM)
    gate = why_pending(artifact, waiting)
    return Why(WhyKind.GATE, f"the workers have ended; its gate: {gate.reason}")


def why_not_ended(artifact: Artifact, seen: Sequence[Seen]) -> Why:
    """Whether workers that have made all units do not end: their gate waits for them in vain."""
    running = [row for row in seen if row.state == "running" and not row.name.startswith("gate-")]
    config = artifact.config()
    if not running or not config or artifact.missing_units(config.units) or artifact.is_alive():
        return Why()
    names = ", ".join(f"{row.id}_{row.elements}" if row.elements else row.id for row in running)
    return Why(
        WhyKind.NOT_ENDED,
        f"all its units are done, and job {names} does not end: it ends at its time limit; "
        f"`{cancel_command([row.id for row in running])}` lets the run go on now",
    )


def why_damaged(artifact: Artifact) -> Why:
    """What is wrong with the files of a node that was finished."""
    told = told_faults(faults_of(artifact))
    return Why(WhyKind.DAMAGED, f"{told}; the line of the launch makes again what is not whole")


def why_failed(artifact: Artifact) -> Why:
    """The reasons of a failure without the end of the log, which `hala_hpc.logs` shows."""
    report = artifact.failure()
    first = report.reasons[:REASONS] if report else ()
    text = "; ".join(reason.text for reason in first) or "no reason was given"
    missed = bool(first) and all(reason.kind is FailureClass.SECONDARY for reason in first)
    return Why(WhyKind.INPUT_FAILED if missed else WhyKind.FAILED, text)


def why_pending(artifact: Artifact, waiting: Sequence[Seen]) -> Why:
    """The reason of the first that waits; for a dependency, the nodes that it waits for."""
    row = min(waiting, key=lambda row: row.reason == "None")
    inputs = unfinished_inputs(artifact) if row.reason == "Dependency" else []
    if inputs:
        return Why(WhyKind.INPUTS, f"waits for {', '.join(inputs)}", tuple(inputs))
    return Why(WhyKind.SCHEDULER, plain_reason(row.reason, row.id))


def unfinished_inputs(artifact: Artifact) -> list[str]:
    """Names of the nodes that a node takes in and that are not done."""
    folders = [artifact.folder.parent / name for name in input_folders(artifact.config())]
    open_ = [Artifact(folder) for folder in folders if Artifact(folder).summary() is None]
    return [config.node if (config := one.config()) else one.folder.name for one in open_]


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
    marker = artifact.mark(unit)
    return counts_in(marker) if marker else (0, 0, 0)


def counts_in(counted: UnitMarker | NodeSummary) -> tuple[int, int, int]:
    """Rows in, out and rejected; 0 where no rows are counted."""
    return counted.rows_in, counted.rows_out, counted.rows_rejected


def ids_of_unfinished(nodes: Sequence[RunNode]) -> list[str]:
    """Ids of the newest jobs of all nodes that are not done."""
    finished = (NodeSummary.read_if_sound(node.artifact.summary_file) for node in nodes)
    open_ = (node for node, summary in zip(nodes, finished, strict=True) if summary is None)
    return [number for node in open_ for number in node.artifact.job_ids()]
