"""Which log a line of `hala_hpc.logs` means: that of a unit, a worker, an attempt or a failure."""

from hala_hpc.commands.arguments import read_number
from hala_hpc.commands.monitoring.log_search import (
    Place,
    failed_node,
    first_failure,
    newest_failure,
    newest_log,
)
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.core.run import Run, RunNode
from hala_hpc.jobs.attempt_records import AttemptName, RankAttempt, attempt_ends


def find_place(run: Run, words: dict[str, str]) -> Place | RunNode:
    """The log that is meant; a node alone where none of its workers began.

    Raises UserError (66) when there is none.
    """
    nodes = run.meant_by(words["node"]) if "node" in words else run.nodes
    if {"unit", "worker", "rank", "attempt"} & words.keys():
        return named_place(one_node(nodes), words)
    node = failed_node(nodes)
    found = (first_failure(node) or node) if node else newest_failure(nodes) or newest_log(nodes)
    if found is None:
        whose = f" of node={words['node']}" if "node" in words else ""
        raise UserError(
            f"no worker{whose} has begun in {run.work}: there is no log yet; "
            f"python -m hala_hpc.status work={run.work} tells why",
            NO_INPUT,
        )
    return found


def one_node(nodes: list[RunNode]) -> RunNode:
    """The node whose units and workers are counted. Raises UserError when there are several."""
    if len(nodes) == 1:
        return nodes[0]
    raise UserError(f"name one node: node=..., one of {', '.join(node.name for node in nodes)}")


def named_place(node: RunNode, words: dict[str, str]) -> Place:
    """The log of a unit, a worker or an attempt."""
    unit, worker, rank = (read_number(words, word) for word in ("unit", "worker", "rank"))
    attempt, named = None, RankAttempt.parse(words.get("attempt", ""))
    if unit is not None:
        worker, attempt = worker_of_unit(node, unit)
    elif worker is None and named:
        worker = named.name.worker
    if worker is None:
        failed = first_failure(node)
        worker, rank = (
            (failed.worker, failed.rank if rank is None else rank) if failed else (0, rank)
        )
    if rank is None:
        rank = rank_that_failed(node.artifact, worker, words.get("attempt") or attempt)
    return Place(node, worker, rank, attempt)


def worker_of_unit(node: RunNode, unit: int) -> tuple[int, str | None]:
    """Who made a unit, and in which attempt; else who has it, or is to make it.

    Raises UserError for a unit that the node does not have.
    """
    artifact = node.artifact
    if unit >= node.units:
        raise UserError(f"unit={unit}: {node.name} has units 0 to {node.units - 1}")
    marker = artifact.mark(unit)
    if made := AttemptName.parse(marker.attempt if marker else ""):
        return made.worker, str(made)
    claim, newest = artifact.claim(unit), artifact.sound_newest_round()
    shares = newest.assignment if newest else ()
    meant = next((worker for worker, units in enumerate(shares) if unit in units), None)
    worker = claim.worker if claim else meant
    if worker is None:
        raise UserError(f"unit={unit}: no worker of {node.name} has it yet", NO_INPUT)
    return worker, None


def rank_that_failed(artifact: Artifact, worker: int, attempt: str | None) -> int:
    """The first rank of a worker that failed in its last attempt, or in the named one; else 0."""
    ends = [end for end in attempt_ends(artifact) if end.worker == worker]
    names = [end.name for end in ends]
    name = attempt if attempt in names else next(reversed(names), None)
    return next((end.rank for end in ends if end.name == name and end.has_failed), 0)
