"""Why a node goes no further: what it waits for, what was lost, why it failed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

from hala_hpc.backends.slurm.client import QueueRow, cancel_command
from hala_hpc.backends.slurm.pending_reasons import explain_pending_reason
from hala_hpc.commands.planning.plan import summarize_faults
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import FailureClass
from hala_hpc.core.file_facts import FileFault
from hala_hpc.core.run import input_folders
from hala_hpc.jobs.failures.decision import newest_changes
from hala_hpc.jobs.job_files import find_newest_job_output, read_last_line

NO_ROOM_MESSAGE = (
    "no room in the queue: the cluster takes no more jobs of yours now. The node that ends next "
    "submits it; when none is at work, give the line of the launch again"
)

#: The first reasons of a failure tell enough.
MAX_REASONS = 3


class NodeReasonKind(StrEnum):
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
class NodeReason:
    """Why a node goes no further, and what was changed since it began."""

    kind: NodeReasonKind | None = None
    """None where nothing holds it up."""
    reason: str = ""
    waits_for: tuple[str, ...] = ()
    """Names of the nodes that it waits for."""
    changes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it for people."""
        changes = "; ".join(self.changes[-MAX_REASONS:])
        changed = f"changed since it began: {changes}" if changes else ""
        return "; ".join(text for text in (self.reason, changed) if text)


#: Nothing holds a node up, and nothing was changed.
NO_REASON = NodeReason()


def explain_node(artifact: Artifact, state: str, queue_rows: Sequence[QueueRow]) -> NodeReason:
    """Why a node waits, or some of its workers do, or why it failed, and what was changed since."""
    found = explain_state(artifact, state, queue_rows)
    if state not in ("failed", "waiting", "running"):
        return found
    return replace(found, changes=tuple(newest_changes(artifact)))


def explain_state(artifact: Artifact, state: str, queue_rows: Sequence[QueueRow]) -> NodeReason:
    """Why a node waits, or some of its workers do, or why it failed."""
    waiting = [row for row in queue_rows if row.state != "running"]
    if state in ("failed", "damaged"):
        return explain_failure(artifact) if state == "failed" else explain_damage(artifact)
    workers = [row for row in waiting if not row.name.startswith("gate-")]
    if state == "running":
        # The gate of a node at work waits for its workers, which is as it should be.
        return (
            explain_pending(artifact, workers)
            if workers
            else explain_lingering_workers(artifact, queue_rows)
        )
    if state != "waiting":
        return NodeReason()
    if workers:
        return explain_pending(artifact, workers)
    if not waiting:
        return NodeReason(NodeReasonKind.ROOM, NO_ROOM_MESSAGE)
    gate = explain_pending(artifact, waiting)
    return NodeReason(NodeReasonKind.GATE, f"the workers have ended; its gate: {gate.reason}")


def explain_lost_jobs(artifact: Artifact) -> NodeReason:
    """Why a node that was submitted has no jobs any more, and neither summary nor failure."""
    if inputs := list_unfinished_inputs(artifact):
        text = f"its jobs are gone, as {', '.join(inputs)} was not finished"
        return NodeReason(NodeReasonKind.INPUTS_LOST, text, tuple(inputs))
    jobs = artifact.jobs()
    gate = f"its gate, job {jobs.gate}," if jobs and jobs.gate else "its gate"
    text = (
        f"{gate} is gone and decided nothing: it was cancelled, killed, or forgotten by SLURM; the "
        "line of the launch goes on from here"
    )
    if file := find_newest_job_output(artifact):
        text += f"; {file} ends with: {read_last_line(file)}"
    return NodeReason(NodeReasonKind.GATE_LOST, text)


def explain_lingering_workers(artifact: Artifact, queue_rows: Sequence[QueueRow]) -> NodeReason:
    """Whether workers that have made all units do not end: their gate waits for them in vain."""
    running = [
        row for row in queue_rows if row.state == "running" and not row.name.startswith("gate-")
    ]
    config = artifact.config()
    if not running or not config or artifact.missing_units(config.units) or artifact.is_alive():
        return NodeReason()
    names = ", ".join(f"{row.id}_{row.elements}" if row.elements else row.id for row in running)
    return NodeReason(
        NodeReasonKind.NOT_ENDED,
        f"all its units are done, and job {names} does not end: it ends at its time limit; "
        f"`{cancel_command([row.id for row in running])}` lets the run go on now",
    )


def explain_damage(artifact: Artifact) -> NodeReason:
    """What is wrong with the files of a node that was finished."""
    message = summarize_faults(find_output_faults(artifact))
    return NodeReason(
        NodeReasonKind.DAMAGED, f"{message}; the line of the launch makes again what is not whole"
    )


def explain_failure(artifact: Artifact) -> NodeReason:
    """The reasons of a failure without the end of the log, which `hala_hpc.logs` shows."""
    report = artifact.failure()
    first = report.reasons[:MAX_REASONS] if report else ()
    text = "; ".join(reason.text for reason in first) or "no reason was given"
    missed = bool(first) and all(reason.kind is FailureClass.SECONDARY for reason in first)
    return NodeReason(NodeReasonKind.INPUT_FAILED if missed else NodeReasonKind.FAILED, text)


def explain_pending(artifact: Artifact, waiting: Sequence[QueueRow]) -> NodeReason:
    """The reason of the first that waits; for a dependency, the nodes that it waits for."""
    row = min(waiting, key=lambda row: row.reason == "None")
    inputs = list_unfinished_inputs(artifact) if row.reason == "Dependency" else []
    if inputs:
        return NodeReason(NodeReasonKind.INPUTS, f"waits for {', '.join(inputs)}", tuple(inputs))
    return NodeReason(NodeReasonKind.SCHEDULER, explain_pending_reason(row.reason, row.id))


def find_output_faults(artifact: Artifact) -> list[FileFault]:
    """What is wrong with the output of a finished node, by sizes; one look at it for a summary."""
    try:
        written_ns = artifact.summary_file.stat().st_mtime_ns
    except FileNotFoundError:
        return []
    return read_output_faults(artifact, written_ns)


@cache
def read_output_faults(artifact: Artifact, _written_ns: int) -> list[FileFault]:
    """The same for the summary of that moment: a node that was repaired has another one."""
    summary = artifact.summary()
    return artifact.output_faults(summary) if summary else []


def list_unfinished_inputs(artifact: Artifact) -> list[str]:
    """Names of the nodes that a node takes in and that are not done."""
    folders = [artifact.folder.parent / name for name in input_folders(artifact.config())]
    open_ = [Artifact(folder) for folder in folders if Artifact(folder).summary() is None]
    return [config.node if (config := one.config()) else one.folder.name for one in open_]
