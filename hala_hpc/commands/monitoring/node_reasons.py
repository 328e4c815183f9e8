"""Explain why a node does not progress: what it waits for, which jobs were lost, why it failed."""

from collections.abc import Callable, Mapping, Sequence
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
    "job limit reached: the cluster accepts no more jobs of this user now. The next node "
    "that ends submits this one; if no node is running, run the launch command again"
)

#: Number of a failure's reasons that are shown.
MAX_REASONS = 3


class NodeReasonKind(StrEnum):
    """Why a node does not progress."""

    INPUTS = "inputs"
    """Nodes that it depends on are not done."""
    INPUTS_LOST = "inputs_lost"
    """Its jobs are gone, because nodes that it depends on were not finished."""
    GATE_LOST = "gate_lost"
    """Its jobs are gone, and its gate recorded no decision."""
    NOT_ENDED = "not_ended"
    """All its units are done, and its workers do not exit."""
    SCHEDULER = "scheduler"
    """SLURM has not started its workers yet."""
    GATE = "gate"
    """Its workers have ended, and SLURM has not started its gate yet."""
    ROOM = "room"
    """The job limit of this user is reached."""
    FAILED = "failed"
    DAMAGED = "damaged"
    """It was finished, and its files are incomplete now."""
    CLEANED = "cleaned"
    """It is done, and its output was removed by `clean`."""
    INPUT_FAILED = "input_failed"
    """It never started, because a node that it depends on has failed."""


@dataclass(frozen=True)
class NodeReason:
    """Why a node does not progress, and what was changed since it started."""

    kind: NodeReasonKind | None = None
    """None if nothing blocks it."""
    reason: str = ""
    waits_for: tuple[str, ...] = ()
    """Names of the nodes that it waits for."""
    changes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Reason and changes as one text for people."""
        changes = "; ".join(self.changes[-MAX_REASONS:])
        changed = f"changed since it started: {changes}" if changes else ""
        return "; ".join(text for text in (self.reason, changed) if text)


#: Nothing blocks the node, and nothing was changed.
NO_REASON = NodeReason()


def explain_node(artifact: Artifact, state: str, queue_rows: Sequence[QueueRow]) -> NodeReason:
    """Explain why a node or its workers wait or why it failed, and what was changed since."""
    found = explain_state(artifact, state, queue_rows)
    if state not in ("failed", "waiting", "running"):
        return found
    return replace(found, changes=tuple(newest_changes(artifact)))


def explain_state(artifact: Artifact, state: str, queue_rows: Sequence[QueueRow]) -> NodeReason:
    """Explain why a node or some of its workers wait, or why it failed."""
    waiting = [row for row in queue_rows if row.state != "running"]
    if explain := ENDED.get(state):
        return explain(artifact)
    workers = [row for row in waiting if not row.name.startswith("gate-")]
    if state == "running":
        # The gate of a running node waits for its workers, as intended.
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
    """Explain why a submitted node has no jobs, and neither summary nor failure record."""
    if inputs := list_unfinished_inputs(artifact):
        text = f"its jobs are gone, as {', '.join(inputs)} was not finished"
        return NodeReason(NodeReasonKind.INPUTS_LOST, text, tuple(inputs))
    jobs = artifact.jobs()
    gate = f"its gate, job {jobs.gate}," if jobs and jobs.gate else "its gate"
    text = (
        f"{gate} is gone without a decision: it was cancelled, killed, or lost by SLURM; run the "
        "launch command again to resume"
    )
    if file := find_newest_job_output(artifact):
        text += f"; {file} ends with: {read_last_line(file)}"
    return NodeReason(NodeReasonKind.GATE_LOST, text)


def explain_lingering_workers(artifact: Artifact, queue_rows: Sequence[QueueRow]) -> NodeReason:
    """Explain workers that have made all units and do not exit, so that their gate cannot start."""
    running = [
        row for row in queue_rows if row.state == "running" and not row.name.startswith("gate-")
    ]
    config = artifact.config()
    if not running or not config or artifact.missing_units(config.units) or artifact.is_alive():
        return NodeReason()
    names = ", ".join(f"{row.id}_{row.elements}" if row.elements else row.id for row in running)
    return NodeReason(
        NodeReasonKind.NOT_ENDED,
        f"all its units are done, and job {names} does not exit: it ends at its time limit; "
        f"`{cancel_command([row.id for row in running])}` ends it now, so that the run continues",
    )


def explain_damage(artifact: Artifact) -> NodeReason:
    """Describe what is wrong with the files of a finished node."""
    message = summarize_faults(find_output_faults(artifact))
    return NodeReason(
        NodeReasonKind.DAMAGED, f"{message}; the launch command computes incomplete results again"
    )


def explain_removal(artifact: Artifact) -> NodeReason:
    """Describe what `clean` removed from a finished node; nothing if its output is there."""
    found = artifact.removed_output()
    if found is None or not find_output_faults(artifact):
        return NO_REASON
    return NodeReason(NodeReasonKind.CLEANED, f"output {found.text}")


def explain_failure(artifact: Artifact) -> NodeReason:
    """The reasons of a failure, without the end of the log, which `hala_hpc.logs` shows."""
    report = artifact.failure()
    first = report.reasons[:MAX_REASONS] if report else ()
    text = "; ".join(reason.text for reason in first) or "no reason was given"
    missed = bool(first) and all(reason.kind is FailureClass.SECONDARY for reason in first)
    return NodeReason(NodeReasonKind.INPUT_FAILED if missed else NodeReasonKind.FAILED, text)


def explain_pending(artifact: Artifact, waiting: Sequence[QueueRow]) -> NodeReason:
    """The reason of the first pending job; for a dependency, the nodes that it waits for."""
    row = min(waiting, key=lambda row: row.reason == "None")
    inputs = list_unfinished_inputs(artifact) if row.reason == "Dependency" else []
    if inputs:
        return NodeReason(NodeReasonKind.INPUTS, f"waits for {', '.join(inputs)}", tuple(inputs))
    return NodeReason(NodeReasonKind.SCHEDULER, explain_pending_reason(row.reason, row.id))


def find_output_faults(artifact: Artifact) -> list[FileFault]:
    """Faults of a finished node's output, by sizes; checked once per summary."""
    try:
        written_ns = artifact.summary_file.stat().st_mtime_ns
    except FileNotFoundError:
        return []
    return read_output_faults(artifact, written_ns)


@cache
def read_output_faults(artifact: Artifact, _written_ns: int) -> list[FileFault]:
    """Cached by the time of the summary: a repaired node has a new one."""
    summary = artifact.summary()
    return artifact.output_faults(summary) if summary else []


def list_unfinished_inputs(artifact: Artifact) -> list[str]:
    """Names of the nodes that a node depends on and that are not done."""
    folders = [artifact.folder.parent / name for name in input_folders(artifact.config())]
    open_ = [Artifact(folder) for folder in folders if Artifact(folder).summary() is None]
    return [config.node if (config := one.config()) else one.folder.name for one in open_]


#: What explains a node that has ended, by its state.
ENDED: Mapping[str, Callable[[Artifact], NodeReason]] = {
    "done": explain_removal,
    "failed": explain_failure,
    "damaged": explain_damage,
}
