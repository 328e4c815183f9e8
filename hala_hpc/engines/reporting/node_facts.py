"""What a page knows about a node: its records in the work folder, and its GPU hours."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import Damaged
from hala_hpc.core.job_records import AttemptRecord
from hala_hpc.core.records import NodeConfig, NodeSummary

HOUR_S = 3600
#: State of a node whose result is complete.
DONE = "done"


@dataclass(frozen=True)
class NodeFacts:
    """A node as far as its records go."""

    name: str
    stage: str
    state: str = DONE
    """As `status` shows it."""
    summary: NodeSummary | None = None
    """None until it is done."""
    config: NodeConfig | None = None
    """None before its first launch, or if only its summary is known."""
    output: Path | None = None
    """Folder with its result; None if unknown."""
    gpu_hours: float | None = None
    """Spent so far; None if it requests no GPU."""
    gpu_hours_estimate: float | None = None

    @property
    def is_done(self) -> bool:
        """Whether its result is complete."""
        return self.summary is not None

    @property
    def details(self) -> dict[str, Any]:
        """The figures of the stage; empty if there are none."""
        found = self.summary.details if self.summary else None
        return found if isinstance(found, dict) else {}

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings as JSON values; empty if unknown."""
        return self.config.settings if self.config else {}

    @property
    def input_names(self) -> list[str]:
        """Names of the nodes, paths and repositories that it reads."""
        if self.config:
            return list(self.config.inputs)
        return list(self.summary.inputs) if self.summary else []


def read_node_facts(output: Path, summary: NodeSummary) -> NodeFacts:
    """Facts of a finished node, from its output folder; only the summary if that is elsewhere."""
    artifact = Artifact(output.parent)
    try:
        config = artifact.config()
    except Damaged:
        config = None
    if config is None or config.node != summary.node:
        folder = output if output.is_dir() else None
        return NodeFacts(summary.node, summary.stage, summary=summary, output=folder)
    return NodeFacts(
        summary.node,
        summary.stage,
        summary=summary,
        config=config,
        output=output,
        gpu_hours=recorded_gpu_hours(artifact),
        gpu_hours_estimate=config.gpu_hours_estimate,
    )


def recorded_gpu_hours(artifact: Artifact) -> float | None:
    """GPU hours in the records of a node's workers; None if its jobs requested no GPU.

    A worker that was killed together with its supervisor leaves no record, so it may be too little.
    """
    newest = artifact.newest_round_if_valid()
    if newest is None or newest.spec.is_local:
        return None
    gpus = newest.spec.resources.nodes * newest.spec.resources.gpus_per_node
    seconds = sum(record.seconds for record in rank_0_records(artifact))
    return round(seconds * gpus / HOUR_S, 3) if gpus else None


def rank_0_records(artifact: Artifact) -> Iterable[AttemptRecord]:
    """The records of rank 0 of all attempts."""
    for path in sorted(artifact.attempts.glob("r*-w*.json")):
        if "-error-" in path.name or "-rank" in path.name:
            continue
        record = AttemptRecord.read_if_valid(path)
        if record is not None and record.rank == 0:
            yield record
