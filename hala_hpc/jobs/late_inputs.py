"""A node whose input is being recomputed: its gate resubmits it after the input, without failing.

A node starts too early or is cancelled if the gate of its input is killed or cancelled. The same
happens if that gate resubmits the input while a launch adds the dependency. The unfinished input
must not end the chain then, as its jobs are still queued or running.
"""

import logging

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import RETRY, JobLimitReached, TransientError, UserError
from hala_hpc.core.lease import GATE_WAIT_S, WorkLease, work_lease
from hala_hpc.core.records import NodeConfig, PendingNode, Round, RoundSpec
from hala_hpc.jobs.closing import Verdict, fail_node
from hala_hpc.jobs.rounds import failed_inputs, unfinished_input_nodes
from hala_hpc.jobs.submission import (
    find_or_adopt_gate,
    move_dependents,
    submit_node,
    wait_for_pending_sbatch,
)
from hala_hpc.jobs.waiting_list import waiting_nodes, waits_for_room, write_waiting

logger = logging.getLogger(__name__)


def resubmit_after_inputs(artifact: Artifact, own_gate: str) -> Verdict | None:
    """Verdict for an unfinished node with unfinished inputs; None for other nodes.

    The node is resubmitted after the gates of its inputs, or joins the waiting list with them, or
    fails if an input has neither. The lease of the work folder is held, as a launch may be about
    to submit the inputs.

    Raises: TransientError if a launch holds the lease for long, or if SLURM does not answer.
    """
    config, newest = artifact.require_config(), artifact.newest_round()
    if newest is None or newest.spec.is_local or not artifact.missing_units(config.units):
        return None
    if artifact.summary() is not None or not unfinished_input_nodes(artifact, config):
        return None
    try:
        with work_lease(artifact.folder.parent, GATE_WAIT_S, holder="gate") as lease:
            return resubmit_with_lease(artifact, config, newest, lease, own_gate)
    except UserError as error:
        if error.code == RETRY:
            raise TransientError(str(error)) from error
        raise


def resubmit_with_lease(
    artifact: Artifact, config: NodeConfig, newest: Round, lease: WorkLease, own_gate: str
) -> Verdict | None:
    """The verdict for such a node, while the lease of its work folder is held."""
    wait_for_pending_sbatch(list(unfinished_input_nodes(artifact, config).values()))
    queue_rows = SlurmBackend().query_queue()
    # After the query of the queue: an input whose gate is gone may have been finished.
    inputs = unfinished_input_nodes(artifact, config)
    if not inputs:
        return None
    gates = tuple(find_or_adopt_gate(one, queue_rows) for one in inputs.values())
    late = [one for one, gate in zip(inputs.values(), gates, strict=True) if not gate]
    if not all(waits_for_room(one) for one in late):
        return fail_node(artifact, *failed_inputs(artifact, config))
    logger.info("%s: inputs are being recomputed: %s", artifact.folder.name, ", ".join(inputs))
    spec = repeat_spec(newest)
    try:
        if late:
            raise JobLimitReached(
                f"{', '.join(one.folder.name for one in late)} are on the waiting list"
            )
        gate = submit_node(artifact, config.units, spec, gates, lease.require)
    except JobLimitReached as error:
        logger.info("%s: %s", artifact.folder.name, error)
        lease.require()
        add_to_waiting_list(artifact, config, spec, list(inputs.values()))
        return Verdict("waits for room", RETRY)
    move_dependents(artifact, own_gate, gate)
    return Verdict("handed over")


def repeat_spec(newest: Round) -> RoundSpec:
    """The spec for a round that replaces the newest one, which could not start."""
    first = newest.spec.since_round or newest.round
    return newest.spec.model_copy(update={"since_round": first, "because": ()})


def add_to_waiting_list(
    artifact: Artifact, config: NodeConfig, spec: RoundSpec, inputs: list[Artifact]
) -> None:
    """Append a node to the waiting list; the lease of the work folder is held."""
    work, name = artifact.folder.parent, artifact.folder.name
    folders = tuple(one.folder.name for one in inputs)
    mine = PendingNode(folder=name, units=config.units, spec=spec, inputs=folders)
    write_waiting(work, [*(one for one in waiting_nodes(work) if one.folder != name), mine])
