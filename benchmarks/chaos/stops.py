"""Classify why a run stopped before its end, and whether a user had to expect it.

Three reasons allow a relaunch. A job was cancelled. The controller forgot jobs that it had
accepted. The node failed because its rounds made no progress, and they really made none. In any
other case the product has lost a run.
"""

from dataclasses import dataclass

from benchmarks.chaos.cluster import Cluster
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.node_folder import NodeFolder
from benchmarks.chaos.pipeline import INPUTS, NODES

CANCELLED, FORGOTTEN, NO_PROGRESS = "cancelled", "forgotten", "no_progress"
UNEXPLAINED = "unexplained"
#: A killed controller has not saved what it accepted within so many seconds before.
UNSAVED_S = 30.0


@dataclass(frozen=True)
class Stop:
    """Why one node is not done although its inputs are."""

    node: str
    reason: str
    message: str
    """The recorded failure."""


class StoppedRun:
    """A run without queued jobs and processes that is not complete."""

    def __init__(self, nodes: dict[str, NodeFolder], ledger: Ledger, cluster: Cluster) -> None:
        self.nodes, self.ledger, self.cluster = nodes, ledger, cluster

    def stops(self) -> list[Stop]:
        """Return why each node stopped whose inputs are done."""
        open_ = [name for name in NODES if name not in self.nodes or not self.nodes[name].is_done]
        first = [name for name in open_ if not set(INPUTS.get(name, ())) & set(open_)]
        return [Stop(name, self.reason(name), self.describe_failure(name)) for name in first]

    def describe_failure(self, name: str) -> str:
        """Describe the recorded failure of a node."""
        node = self.nodes.get(name)
        if node is None:
            return "no folder"
        rounds = [(one["round"], one["progress_before"]) for one in node.rounds()]
        files = node.list_state_files()
        return f"{node.failure or 'no failure'}; rounds {rounds}; state files {files}"

    def reason(self, name: str) -> str:
        """Return the reason that allows a stop of this node, or UNEXPLAINED."""
        node = self.nodes.get(name)
        if node is None:
            return UNEXPLAINED
        failure = node.failure
        kinds = {reason.get("kind") for reason in failure.get("reasons", [])}
        if failure and "cancelled" not in kinds:
            return NO_PROGRESS if self.brought_nothing(node) else UNEXPLAINED
        if name in self.ledger.cancelled:
            return CANCELLED
        if not failure and self.was_forgotten(node):
            return FORGOTTEN
        return UNEXPLAINED

    def brought_nothing(self, node: NodeFolder) -> bool:
        """Whether the last two rounds of a node added no marker and no finished work."""
        rounds = node.rounds()[-2:]
        began = [one.get("began", 0.0) for one in rounds]
        if len(rounds) < 2 or began[0] < self.ledger.launched_at:
            return False
        now = [
            f"{node.count_markers()} units",
            *(f"kept/{name}" for name in node.list_state_files()),
        ]
        return all(one["progress_before"] == now for one in rounds)

    def was_forgotten(self, node: NodeFolder) -> bool:
        """Whether a controller killed since then no longer knows a job that it had accepted."""
        since = self.ledger.launched_at - UNSAVED_S
        if not any(killed_at > since for killed_at in self.cluster.killed_at):
            return False
        return any(
            self.cluster.is_forgotten(number, name) for number, name in node.job_names().items()
        )
