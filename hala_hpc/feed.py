"""Nodes that wait for room: a cluster may let a user have fewer jobs at once than a run needs.

A launch submits as many nodes as fit, inputs first, and writes the others down; each gate that
ends makes room and submits those that fit then. Only who holds the lease of the folder does so.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.backends.slurm import SlurmBackend
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import NO_INPUT, NoRoom, Retry, UserError
from hala_hpc.core.files import read_json, write_json
from hala_hpc.core.lease import work_lease
from hala_hpc.submit import living_gate, settle, submit_node

#: How long a gate waits for another that submits, in seconds.
PATIENCE_S = 300


@dataclass(frozen=True)
class Waiting:
    """A node that is to be submitted."""

    folder: str
    """Name of its artifact."""
    units: int
    spec: dict[str, Any]
    inputs: tuple[str, ...]
    """Names of the artifacts that it takes in."""


def feed_file(work: Path) -> Path:
    """Where the nodes stand that wait for room."""
    return work / "feed.json"


def waiting_nodes(work: Path) -> list[Waiting]:
    """The nodes that wait for room, inputs first."""
    found = (read_json(feed_file(work)) or {}).get("nodes", [])
    return [Waiting(**{**one, "inputs": tuple(one["inputs"])}) for one in found]


def write_waiting(work: Path, nodes: list[Waiting]) -> None:
    """Write down who waits; no file where nobody does."""
    if nodes:
        write_json(feed_file(work), {"nodes": [vars(one) for one in nodes]})
    else:
        feed_file(work).unlink(missing_ok=True)


def waits_for_room(artifact: Artifact) -> bool:
    """Whether a node is among those that wait for room."""
    return any(one.folder == artifact.folder.name for one in waiting_nodes(artifact.folder.parent))


def forget(work: Path, folders: set[str]) -> None:
    """Let some nodes wait no more; the lease of the folder is held."""
    write_waiting(work, [one for one in waiting_nodes(work) if one.folder not in folders])


def feed(work: Path) -> None:
    """Submit what fits of the nodes that wait; called by a gate, whose own node is closed."""
    if not waiting_nodes(work):
        return
    try:
        with work_lease(work, PATIENCE_S):
            submit_waiting(work)
    except (UserError, Retry) as error:
        # The next gate tries again, or the same line of the launch.
        print(f"nodes that wait for room were not submitted: {error}", flush=True)


def submit_waiting(work: Path) -> None:
    """Submit nodes in order until there is no more room; those that cannot run any more fail."""
    nodes = waiting_nodes(work)
    settle([Artifact(work / node.folder) for node in nodes])
    seen = SlurmBackend().look()
    while nodes:
        artifact = Artifact(work / nodes[0].folder)
        inputs = [Artifact(work / name) for name in nodes[0].inputs]
        failed = [one.folder.name for one in inputs if one.failure_file.exists()]
        if failed:
            names = ", ".join(failed)
            artifact.write_failure(NO_INPUT, [f"{names}, which it waits for, was not finished"])
        elif artifact.summary() is None and not living_gate(artifact, seen):
            gates = [living_gate(one, seen) for one in inputs if one.summary() is None]
            if "" in gates:
                print(f"{artifact.folder.name} waits for a node that nobody is at", flush=True)
                return
            try:
                gate = submit_node(artifact, nodes[0].units, nodes[0].spec, tuple(gates))
            except NoRoom as error:
                print(f"{len(nodes)} nodes wait for room: {error}", flush=True)
                return
            except UserError as error:
                artifact.write_failure(error.code, error.mistakes)
            else:
                print(f"submitted {artifact.folder.name} with gate {gate}", flush=True)
                seen = SlurmBackend().look()
        nodes = nodes[1:]
        write_waiting(work, nodes)
