"""Looks at the GPUs of this rank, and lets all ranks meet: run by `node_health` as a child.

`python -m hala_hpc.jobs.node_health_probe <JSON>`. Its last line is the answer, as JSON.
"""

import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

from hala_hpc.core.ports import NEIGHBOURS
from hala_hpc.core.record import Record
from hala_hpc.jobs.gpu_cards import Card, Gpus
from hala_hpc.jobs.node_health import ANSWER, NodeAnswer, NodeQuestion

#: Memory of a process that has just ended is free after a moment, in seconds.
FREE_WAIT_S = 20.0
#: How long the ranks wait for each other, in seconds: their nodes may import at different speeds.
MEET_LIMIT_S = 300
#: The ranks meet at another port than the training's, which may follow at once.
PORT_AFTER = NEIGHBOURS - 1


class RankFaults(Record):
    """What one rank tells the others."""

    node: str
    faults: tuple[str, ...] = ()


def card_faults(gpus: Gpus, asked: NodeQuestion, local_rank: int) -> list[str]:
    """What is wrong with the GPUs of this rank; a line each.

    Every rank of a node sees all of the job's GPUs there, and looks at its part of them.
    """
    found = gpus.count()
    if found < asked.gpus:
        return [f"{found} GPUs can be seen, but {asked.gpus} were asked for"]
    own = range(local_rank % asked.ranks_per_node, asked.gpus, asked.ranks_per_node)
    # Where more ranks than GPUs are asked for, they share them.
    own_or_shared = list(own) or [local_rank % asked.gpus]
    cards = [gpus.card(number) for number in own_or_shared]
    errors = {card.uuid: card.uncorrected_errors for card in gpus.driver_cards()}
    faults = []
    for card in cards:
        fault = memory_fault(gpus, card, asked.free_share)
        fault = fault or error_fault(errors.get(card.uuid)) or gpus.product_fault(card.number)
        faults += [f"GPU {card.number} ({card.name}, {card.uuid}): {fault}"] if fault else []
    return faults


def memory_fault(gpus: Gpus, card: Card, free_share: float) -> str:
    """Who holds the memory of a card, where too little is free; "" where enough is."""
    until_s = time.monotonic() + FREE_WAIT_S
    while card.free_bytes < free_share * card.total_bytes:
        if time.monotonic() > until_s:
            free, total = card.free_bytes / 2**30, card.total_bytes / 2**30
            holders = (one.processes for one in gpus.driver_cards() if one.uuid == card.uuid)
            held = "; ".join(next(holders, ())) or "by processes that cannot be seen here"
            return f"{free:.1f} of {total:.1f} GB are free, the rest is held: {held}"
        time.sleep(1)
        card = gpus.card(card.number)
    return ""


def error_fault(errors: int | None) -> str:
    """What the driver counted of errors that memory could not correct; "" without."""
    return f"{errors} uncorrected memory errors (ECC) since its driver was loaded" if errors else ""


def meet(faults: Sequence[str], gpus: Gpus, rank: int, world: int) -> NodeAnswer:
    """The faults of all ranks, each with its node, and whether they can add up a number.

    A rank that never comes is named by its number alone: nobody knows its node.
    """
    from torch import distributed

    limit = timedelta(seconds=MEET_LIMIT_S)
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]) + PORT_AFTER
    try:
        store = distributed.TCPStore(address, port, world, rank == 0, limit)
        store.set(f"rank-{rank}", RankFaults(node=own_node(), faults=tuple(faults)).line())
        ranks = [f"rank-{number}" for number in range(world)]
        told = [RankFaults.from_json(store.get(name), name) for name in ranks]
    except (distributed.DistError, RuntimeError) as error:
        return NodeAnswer(faults=(f"the ranks do not find each other: {error}",))
    answer = answer_of(told)
    if not answer.faults:
        wrong = sum_fault(distributed.PrefixStore("sum", store), gpus, rank, world)
        nodes = ", ".join(dict.fromkeys(one.node for one in told))
        answer = NodeAnswer(faults=(f"{wrong} (nodes {nodes})",) if wrong else ())
    # Rank 0 holds the store: it is the last to leave.
    store.set(f"left-{rank}", "1")
    if rank == 0:
        store.wait([f"left-{number}" for number in range(world)], limit)
    return answer


def sum_fault(store: Any, gpus: Gpus, rank: int, world: int) -> str:
    """What goes wrong when all ranks add up their numbers; "" when nothing does."""
    from torch import distributed

    try:
        distributed.init_process_group(
            gpus.collectives, store=store, rank=rank, world_size=world,
            timeout=timedelta(seconds=MEET_LIMIT_S),
        )  # fmt: skip
        found, expected = gpus.sum_over_ranks(rank), world * (world + 1) // 2
        distributed.destroy_process_group()
    except (distributed.DistError, RuntimeError) as error:
        return f"the ranks cannot add up a number ({gpus.collectives}): {error}"
    return "" if found == expected else f"the ranks add up to {found} instead of {expected}"


def answer_of(told: Sequence[RankFaults]) -> NodeAnswer:
    """What each rank says, as one answer."""
    return NodeAnswer(
        bad_nodes=tuple(dict.fromkeys(one.node for one in told if one.faults)),
        faults=tuple(f"node {one.node}: {fault}" for one in told for fault in one.faults),
    )


def own_node() -> str:
    """The scheduler's name of this node."""
    return os.environ["HALA_NODE"]


def main(asked: NodeQuestion, gpus: Gpus) -> NodeAnswer:
    """The answer of this rank about some GPUs."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    more = ""
    try:
        faults = card_faults(gpus, asked, local_rank)
        if (seen := gpus.count()) > asked.gpus:
            more = f"; {seen} can be seen"
        alone = RankFaults(node=own_node(), faults=tuple(faults))
        answer = meet(faults, gpus, rank, world) if world > 1 else answer_of([alone])
    except ImportError as error:
        # Another node has the same environment: nothing is won by going there.
        answer = NodeAnswer(faults=(f"the environment is broken: {error}",))
    told = f"{asked.gpus} GPUs are free, without errors, and calculate{more}"
    return answer.model_copy(update={"told": told})


def answer_and_leave(gpus: Gpus) -> NoReturn:
    """Print the answer to the question on the command line, and end this process."""
    found = main(NodeQuestion.from_json(sys.argv[1], "argument of node_health_probe"), gpus)
    print(f"\n{ANSWER}{found.line()}", flush=True)
    # os._exit: collectives leave threads behind that can hold an ordinary exit.
    os._exit(0)


if __name__ == "__main__":
    answer_and_leave(Gpus())
