"""Nodes that wait for room: a cluster may let a user have fewer jobs at once than a run needs.

A launch submits as many nodes as fit, inputs first, and writes the others down; each gate that
ends makes room and submits those that fit then. Only who holds the lease of the folder does so.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import NO_INPUT, NoRoom, Retry, UserError
from hala_hpc.core.lease import GATE_PATIENCE_S, WorkLease, work_lease
from hala_hpc.core.records import WaitingList, WaitingNode
from hala_hpc.jobs.rounds import missed_input
from hala_hpc.jobs.submission import living_gate, settle, submit_node

logger = logging.getLogger(__name__)


def feed_file(work: Path) -> Path:
    """Where the nodes stand that wait for room."""
    return work / "feed.json"


def waiting_nodes(work: Path) -> tuple[WaitingNode, ...]:
    """The nodes that wait for room, inputs first, to be submitted.

    Raises: UserError (CONFIG) where another user could have written them.
    """
    found = WaitingList.read_own(feed_file(work))
    return found.nodes if found else ()


def write_waiting(work: Path, nodes: Sequence[WaitingNode]) -> None:
    """Write down who waits; no file where nobody does."""
    if nodes:
        WaitingList(nodes=tuple(nodes)).write(feed_file(work))
    else:
        feed_file(work).unlink(missing_ok=True)


def waits_for_room(artifact: Artifact) -> bool:
    """Whether a node is among those that wait for room."""
    # A damaged list is put aside by the next launch: it lets nobody wait.
    found = WaitingList.read_if_sound(feed_file(artifact.folder.parent))
    nodes = found.nodes if found else ()
    return any(one.folder == artifact.folder.name for one in nodes)


def forget(work: Path, folders: set[str]) -> None:
    """Let some nodes wait no more; the lease of the folder is held."""
    write_waiting(work, [one for one in waiting_nodes(work) if one.folder not in folders])


def feed(work: Path) -> None:
    """Submit what fits of the nodes that wait; called by a gate, whose own node is closed."""
    try:
        if not waiting_nodes(work):
            return
        with work_lease(work, GATE_PATIENCE_S, holder="gate") as lease:
            submit_waiting(work, lease)
    except (UserError, Retry) as error:
        # The next gate tries again, or the same line of the launch.
        logger.warning("nodes that wait for room were not submitted: %s", error)


def submit_waiting(work: Path, lease: WorkLease) -> None:
    """Submit nodes in order until there is no more room; those that cannot run any more fail."""
    nodes = waiting_nodes(work)
    settle([Artifact(work / node.folder) for node in nodes])
    seen = SlurmBackend().look()
    while nodes:
        artifact = Artifact(work / nodes[0].folder)
        inputs = [Artifact(work / name) for name in nodes[0].inputs]
        failed = [one.folder.name for one in inputs if one.failure_file.exists()]
        if failed:
            artifact.write_failure(NO_INPUT, [missed_input(", ".join(failed))])
        elif artifact.summary() is None and not living_gate(artifact, seen):
            gates = [living_gate(one, seen) for one in inputs if one.summary() is None]
            if "" in gates:
                logger.info("%s waits for a node that nobody is at", artifact.folder.name)
                return
            try:
                gate = submit_node(
                    artifact, nodes[0].units, nodes[0].spec, tuple(gates), lease.require
                )
            except NoRoom as error:
                logger.info("%d nodes wait for room: %s", len(nodes), error)
                return
            except UserError as error:
                artifact.write_failure(error.code, error.mistakes)
            else:
                logger.info("submitted %s with gate %s", artifact.folder.name, gate)
                seen = SlurmBackend().look()
        nodes = nodes[1:]
        lease.require()
        write_waiting(work, nodes)
