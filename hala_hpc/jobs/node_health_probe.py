"""Looks at the GPUs of this rank and at what they need, and lets all ranks meet: run by
`node_health` as a child.

`python -m hala_hpc.jobs.node_health_probe <JSON>`. Its last line is the answer, as JSON.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn

from hala_hpc.core.ports import PORTS_PER_JOB
from hala_hpc.core.record import JsonRecord
from hala_hpc.jobs.all_reduce import all_reduce_fault
from hala_hpc.jobs.gpu_cards import Card, Gpus
from hala_hpc.jobs.gpu_set_up import compiler_fault, driver_fault
from hala_hpc.jobs.node_faults import NodeFault, NodeFaultKind, NodeProbeResult
from hala_hpc.jobs.node_health import RESULT_PREFIX, NodeProbeRequest

#: Memory of a process that has just ended is free after a moment, in seconds.
FREE_WAIT_S = 20.0
#: How long the ranks wait for each other, in seconds: their nodes may import at different speeds.
MEET_LIMIT_S = 300
#: The ranks meet at another port than the training's, which may follow at once.
PORT_AFTER = PORTS_PER_JOB - 1


class RankFaults(JsonRecord):
    """What one rank tells the others."""

    node: str
    faults: tuple[NodeFault, ...] = ()


def rank_faults(gpus: Gpus, asked: NodeProbeRequest, local_rank: int) -> list[NodeFault]:
    """What is wrong with the set-up of this node and with the GPUs of this rank.

    Every rank of a node sees all of the job's GPUs there, and looks at its part of them; the first
    looks at what is the node's.
    """
    if text := driver_fault(gpus.driver(), gpus.build()):
        # CUDA would start on no GPU, and not say why.
        return [local_fault(NodeFaultKind.OLD_DRIVER, text)]
    found = gpus.count()
    if found < asked.gpus:
        text = f"{found} GPUs can be seen, but {asked.gpus} were asked for"
        return [local_fault(NodeFaultKind.MISSING_GPU, text)]
    own = own_gpus(asked, local_rank)
    faults = card_faults(gpus, own, asked.free_share)
    if asked.compiles and local_rank % asked.ranks_per_node == 0:
        faults += compile_faults(gpus, own[0], has_kernels=not faults)
    if not faults and len(own) > 1:
        text = all_reduce_fault(gpus.collectives, [gpus.device(number) for number in own])
        faults += [local_fault(NodeFaultKind.ALL_REDUCE, text)] if text else []
    return faults


def own_gpus(asked: NodeProbeRequest, local_rank: int) -> list[int]:
    """Numbers of the GPUs that a rank looks at."""
    own = range(local_rank % asked.ranks_per_node, asked.gpus, asked.ranks_per_node)
    # Where more ranks than GPUs are asked for, they share them.
    return list(own) or [local_rank % asked.gpus]


def local_fault(kind: NodeFaultKind, text: str) -> NodeFault:
    """A fault of this node."""
    return NodeFault(kind=kind, node=own_node(), text=text)


def card_faults(gpus: Gpus, own: Sequence[int], free_share: float) -> list[NodeFault]:
    """What is wrong with some GPUs: the first fault of each."""
    errors = {card.uuid: card.uncorrected_errors for card in gpus.driver_cards()}
    faults = (card_fault(gpus, number, free_share, errors) for number in own)
    return [fault for fault in faults if fault]


def card_fault(
    gpus: Gpus, number: int, free_share: float, errors: Mapping[str, int | None]
) -> NodeFault | None:
    """The first thing that is wrong with a GPU; None when nothing is.

    `errors`: those of memory that the driver has counted, by the GPU's id.
    """
    if text := gpus.start_fault(number):
        return local_fault(NodeFaultKind.DEAD_GPU, f"GPU {number}: CUDA does not start: {text}")
    card = gpus.card(number)
    checks: tuple[tuple[NodeFaultKind, Callable[[], str]], ...] = (
        (NodeFaultKind.UNSUPPORTED_GPU, lambda: gpus.support_fault(number)),
        (NodeFaultKind.HELD_MEMORY, lambda: memory_fault(gpus, card, free_share)),
        (NodeFaultKind.MEMORY_ERRORS, lambda: error_fault(errors.get(card.uuid))),
        (NodeFaultKind.WRONG_RESULT, lambda: gpus.product_fault(number)),
    )
    for kind, check in checks:
        if text := check():
            return local_fault(kind, f"GPU {number} ({card.name}, {card.uuid}): {text}")
    return None


def compile_faults(gpus: Gpus, number: int, has_kernels: bool) -> list[NodeFault]:
    """Why nothing can be compiled for GPUs here; `has_kernels`: try a kernel on a GPU, too."""
    if fault := compiler_fault():
        return [local_fault(*fault)]
    fault = gpus.kernel_fault(number) if has_kernels else None
    return [local_fault(*fault)] if fault else []


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


def rendezvous(faults: Sequence[NodeFault], gpus: Gpus, rank: int, world: int) -> NodeProbeResult:
    """The faults of all ranks, and whether they can add up a number.

    A rank that never comes is named by its number alone: nobody knows its node.
    """
    from torch import distributed

    limit = timedelta(seconds=MEET_LIMIT_S)
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]) + PORT_AFTER
    try:
        store = distributed.TCPStore(address, port, world, rank == 0, limit)
        store.set(f"rank-{rank}", RankFaults(node=own_node(), faults=tuple(faults)).line())
        ranks = [f"rank-{number}" for number in range(world)]
        reports = [RankFaults.from_json(store.get(name), name) for name in ranks]
    except (distributed.DistError, RuntimeError) as error:
        return rendezvous_failure(f"the ranks do not find each other: {error}")
    answer = merge_reports(reports)
    if not answer.faults:
        wrong = sum_fault(distributed.PrefixStore("sum", store), gpus, rank, world)
        if wrong:
            answer = rendezvous_failure(f"{wrong} (nodes {', '.join(answer.nodes)})")
    # Rank 0 holds the store: it is the last to leave.
    store.set(f"left-{rank}", "1")
    if rank == 0:
        store.wait([f"left-{number}" for number in range(world)], limit)
    return answer


def rendezvous_failure(text: str) -> NodeProbeResult:
    """The answer where the ranks fail together, and no node is to blame."""
    fault = NodeFault(kind=NodeFaultKind.RENDEZVOUS, text=text)
    return NodeProbeResult(nodes=(own_node(),), faults=(fault,))


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


def merge_reports(reports: Sequence[RankFaults]) -> NodeProbeResult:
    """What each rank says, as one answer."""
    return NodeProbeResult(
        nodes=tuple(dict.fromkeys(one.node for one in reports)),
        faults=tuple(dict.fromkeys(fault for one in reports for fault in one.faults)),
    )


def own_node() -> str:
    """The scheduler's name of this node."""
    return os.environ["HALA_NODE"]


def main(asked: NodeProbeRequest, gpus: Gpus) -> NodeProbeResult:
    """The answer of this rank about some GPUs."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if text := import_fault():
        return merge_reports(
            [RankFaults(node=own_node(), faults=(local_fault(NodeFaultKind.ENVIRONMENT, text),))]
        )
    faults = rank_faults(gpus, asked, local_rank)
    alone = RankFaults(node=own_node(), faults=tuple(faults))
    answer = rendezvous(faults, gpus, rank, world) if world > 1 else merge_reports([alone])
    if answer.faults:
        return answer
    more = f"; {visible} can be seen" if (visible := gpus.count()) > asked.gpus else ""
    message = f"{asked.gpus} GPUs are free, without errors, and calculate{more}"
    return answer.model_copy(update={"message": message})


def import_fault() -> str:
    """Why torch cannot be imported; "" when it can.

    A file that cannot be read is none of it: its disk may be this node's alone.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        return f"the environment is broken: {error}"
    except OSError as error:
        # So says the loader of libraries of one that is missing; a disk names its error.
        if error.errno is not None:
            raise
        return f"the environment is broken: {error}"
    return ""


def print_result_and_exit(gpus: Gpus) -> NoReturn:
    """Print the answer to the question on the command line, and end this process."""
    found = main(NodeProbeRequest.from_json(sys.argv[1], "argument of node_health_probe"), gpus)
    print(f"\n{RESULT_PREFIX}{found.line()}", flush=True)
    # os._exit: collectives leave threads behind that can hold an ordinary exit.
    os._exit(0)


if __name__ == "__main__":
    print_result_and_exit(Gpus())
