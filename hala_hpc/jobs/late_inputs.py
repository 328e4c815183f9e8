"""A node whose input is made again just now: its gate submits it behind that, and fails nothing.

A node begins too early, or is cancelled, where the gate of its input is killed or cancelled, or
submits the input again while a launch ties the node to it. That the input is not finished is then
no reason to end the chain: somebody is at it.
"""

import logging

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import RETRY, NoRoom, Retry, UserError
from hala_hpc.core.lease import GATE_PATIENCE_S, WorkLease, work_lease
from hala_hpc.core.records import NodeConfig, Round, RoundSpec, WaitingNode
from hala_hpc.jobs.closing import Verdict, fail
from hala_hpc.jobs.rounds import unfinished_inputs, without_inputs
from hala_hpc.jobs.submission import hand_over, living_gate, settle, submit_node
from hala_hpc.jobs.waiting_list import waiting_nodes, waits_for_room, write_waiting

logger = logging.getLogger(__name__)


def behind_inputs(artifact: Artifact, own_gate: str) -> Verdict | None:
    """What follows for a node that is not done and whose inputs are not finished; None for others.

    It is submitted behind the gates of its inputs, or waits for room as they do, or fails where
    nobody is at one of them. Decided while no launch works in the folder, which may be about to
    submit the inputs. Raises Retry where one does for long, or where SLURM does not answer.
    """
    config, newest = artifact.require_config(), artifact.newest_round()
    if newest is None or newest.spec.is_local or not artifact.missing_units(config.units):
        return None
    if artifact.summary() is not None or not unfinished_inputs(artifact, config):
        return None
    try:
        with work_lease(artifact.folder.parent, GATE_PATIENCE_S, holder="gate") as lease:
            return decide_on(artifact, config, newest, lease, own_gate)
    except UserError as error:
        if error.code == RETRY:
            raise Retry(str(error)) from error
        raise


def decide_on(
    artifact: Artifact, config: NodeConfig, newest: Round, lease: WorkLease, own_gate: str
) -> Verdict | None:
    """What follows for such a node while the lease of its folder is held."""
    settle(list(unfinished_inputs(artifact, config).values()))
    seen = SlurmBackend().look()
    # After the look at the queue: an input whose gate was not there any more may have been done.
    inputs = unfinished_inputs(artifact, config)
    if not inputs:
        return None
    gates = tuple(living_gate(one, seen) for one in inputs.values())
    late = [one for one, gate in zip(inputs.values(), gates, strict=True) if not gate]
    if not all(waits_for_room(one) for one in late):
        return fail(artifact, *without_inputs(artifact, config))
    logger.info("%s: made again just now: %s", artifact.folder.name, ", ".join(inputs))
    spec = spec_of_same(newest)
    try:
        if late:
            raise NoRoom(f"{', '.join(one.folder.name for one in late)} wait for room")
        gate = submit_node(artifact, config.units, spec, gates, lease.require)
    except NoRoom as error:
        logger.info("%s: %s", artifact.folder.name, error)
        lease.require()
        wait_for_room(artifact, config, spec, list(inputs.values()))
        return Verdict("waits for room", RETRY)
    hand_over(artifact, own_gate, gate)
    return Verdict("handed over")


def spec_of_same(newest: Round) -> RoundSpec:
    """The spec for another round in the place of the newest, which could not begin."""
    first = newest.spec.since_round or newest.round
    return newest.spec.model_copy(update={"since_round": first, "because": ()})


def wait_for_room(
    artifact: Artifact, config: NodeConfig, spec: RoundSpec, inputs: list[Artifact]
) -> None:
    """Put a node behind those that wait for room; the lease of the folder is held."""
    work, name = artifact.folder.parent, artifact.folder.name
    folders = tuple(one.folder.name for one in inputs)
    mine = WaitingNode(folder=name, units=config.units, spec=spec, inputs=folders)
    write_waiting(work, [*(one for one in waiting_nodes(work) if one.folder != name), mine])
