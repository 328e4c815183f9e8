"""The waiting list: nodes not submitted yet, because SLURM limits the number of a user's jobs.

A launch submits as many nodes as fit, inputs first, and writes the others to the list. Each gate
that ends frees job slots and submits nodes that fit then. The lease of the work folder is required.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import NO_INPUT, JobLimitReached, TransientError, UserError
from hala_hpc.core.lease import GATE_WAIT_S, WorkLease, work_lease
from hala_hpc.core.records import PendingNode, WaitingList
from hala_hpc.jobs.rounds import missed_input_reason
from hala_hpc.jobs.submission import find_or_adopt_gate, submit_node, wait_for_pending_sbatch

logger = logging.getLogger(__name__)


def waiting_list_file(work: Path) -> Path:
    """File of the waiting list."""
    return work / "feed.json"


def waiting_nodes(work: Path) -> tuple[PendingNode, ...]:
    """The nodes on the waiting list, inputs first.

    Raises: UserError (CONFIG) if another user could have written the list.
    """
    found = WaitingList.read_own(waiting_list_file(work))
    return found.nodes if found else ()


def write_waiting(work: Path, nodes: Sequence[PendingNode]) -> None:
    """Write the waiting list; an empty list removes the file."""
    if nodes:
        WaitingList(nodes=tuple(nodes)).write(waiting_list_file(work))
    else:
        waiting_list_file(work).unlink(missing_ok=True)


def waits_for_room(artifact: Artifact) -> bool:
    """Whether a node is on the waiting list."""
    # The next launch quarantines a damaged list: it counts as empty.
    found = WaitingList.read_if_valid(waiting_list_file(artifact.folder.parent))
    nodes = found.nodes if found else ()
    return any(one.folder == artifact.folder.name for one in nodes)


def remove_waiting(work: Path, folders: set[str]) -> None:
    """Remove nodes from the waiting list; the lease of the work folder is held."""
    write_waiting(work, [one for one in waiting_nodes(work) if one.folder not in folders])


def submit_waiting_nodes(work: Path) -> None:
    """Submit the nodes of the waiting list that fit; called by a gate after closing its node."""
    try:
        if not waiting_nodes(work):
            return
        with work_lease(work, GATE_WAIT_S, holder="gate") as lease:
            submit_while_room(work, lease)
    except (UserError, TransientError) as error:
        # The next gate or launch tries again.
        logger.warning("nodes of the waiting list were not submitted: %s", error)


def submit_while_room(work: Path, lease: WorkLease) -> None:
    """Submit nodes in order until SLURM has no more room; nodes with failed inputs fail."""
    nodes = waiting_nodes(work)
    wait_for_pending_sbatch([Artifact(work / node.folder) for node in nodes])
    queue_rows = SlurmBackend().query_queue()
    while nodes:
        if nodes[0].spec.is_of_another_user():
            logger.info("%s is left to %s", nodes[0].folder, nodes[0].spec.user)
            return
        artifact = Artifact(work / nodes[0].folder)
        inputs = [Artifact(work / name) for name in nodes[0].inputs]
        failed = [one.folder.name for one in inputs if one.failure_file.exists()]
        if failed:
            artifact.write_failure(NO_INPUT, [missed_input_reason(", ".join(failed))])
        elif artifact.summary() is None and not find_or_adopt_gate(artifact, queue_rows):
            gates = [find_or_adopt_gate(one, queue_rows) for one in inputs if one.summary() is None]
            if "" in gates:
                logger.info("%s waits for an input that has no jobs", artifact.folder.name)
                return
            try:
                gate = submit_node(
                    artifact, nodes[0].units, nodes[0].spec, tuple(gates), lease.require
                )
            except JobLimitReached as error:
                logger.info("%d nodes stay on the waiting list: %s", len(nodes), error)
                return
            except UserError as error:
                artifact.write_failure(error.code, error.mistakes)
            else:
                logger.info("submitted %s with gate %s", artifact.folder.name, gate)
                queue_rows = SlurmBackend().query_queue()
        nodes = nodes[1:]
        lease.require()
        write_waiting(work, nodes)
