"""Check the GPUs of this rank, driver and compiler, and an all-reduce over all ranks.

Run by `node_health` as a child: `python -m hala_hpc.jobs.node_health_probe <JSON>`. Its last line
of output is the result, as JSON.
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

#: Seconds until the driver has freed the memory of a process that has just ended.
FREE_WAIT_S = 20.0
#: Seconds that the ranks wait for each other: their nodes may import at different speeds.
MEET_LIMIT_S = 300
#: Port of the rendezvous, above MASTER_PORT: the training may open that one at once.
PORT_AFTER = PORTS_PER_JOB - 1


class RankFaults(JsonRecord):
    """Faults that one rank reports to the others."""

    node: str
    faults: tuple[NodeFault, ...] = ()


def rank_faults(gpus: Gpus, asked: NodeProbeRequest, local_rank: int) -> list[NodeFault]:
    """Faults of the set-up of this node and of the GPUs of this rank.

    Every rank sees all GPUs of the job on its node and checks its share of them. The first rank
    of a node also checks the compiler.
    """
    if text := driver_fault(gpus.driver(), gpus.build()):
        # CUDA would start on no GPU, without giving the reason.
        return [local_fault(NodeFaultKind.OLD_DRIVER, text)]
    found = gpus.count()
    if found < asked.gpus:
        text = f"{found} GPUs are visible, but {asked.gpus} were requested"
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
    """Numbers of the GPUs that a rank checks."""
    own = range(local_rank % asked.ranks_per_node, asked.gpus, asked.ranks_per_node)
    # With more ranks than GPUs, ranks share GPUs.
    return list(own) or [local_rank % asked.gpus]


def local_fault(kind: NodeFaultKind, text: str) -> NodeFault:
    """A fault of this node."""
    return NodeFault(kind=kind, node=own_node(), text=text)


def card_faults(gpus: Gpus, own: Sequence[int], free_share: float) -> list[NodeFault]:
    """The first fault of each of some GPUs."""
    errors = {card.uuid: card.uncorrected_errors for card in gpus.driver_cards()}
    faults = (card_fault(gpus, number, free_share, errors) for number in own)
    return [fault for fault in faults if fault]


def card_fault(
    gpus: Gpus, number: int, free_share: float, errors: Mapping[str, int | None]
) -> NodeFault | None:
    """The first fault of a GPU; None if it has none.

    `errors`: uncorrected memory errors counted by the driver, by the GPU's UUID.
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
    """Faults of compilation; with `has_kernels` a Triton kernel is also run on a GPU."""
    if fault := compiler_fault():
        return [local_fault(*fault)]
    fault = gpus.kernel_fault(number) if has_kernels else None
    return [local_fault(*fault)] if fault else []


def memory_fault(gpus: Gpus, card: Card, free_share: float) -> str:
    """Processes that hold the memory of a GPU if too little is free; "" if enough is."""
    until_s = time.monotonic() + FREE_WAIT_S
    while card.free_bytes < free_share * card.total_bytes:
        if time.monotonic() > until_s:
            free, total = card.free_bytes / 2**30, card.total_bytes / 2**30
            holders = (one.processes for one in gpus.driver_cards() if one.uuid == card.uuid)
            held = "; ".join(next(holders, ())) or "by processes that are not visible here"
            return f"{free:.1f} of {total:.1f} GB are free, the rest is held: {held}"
        time.sleep(1)
        card = gpus.card(card.number)
    return ""


def error_fault(errors: int | None) -> str:
    """Description of uncorrected memory errors; "" if there are none or if unknown."""
    return f"{errors} uncorrected memory errors (ECC) since its driver was loaded" if errors else ""


def rendezvous(faults: Sequence[NodeFault], gpus: Gpus, rank: int, world: int) -> NodeProbeResult:
    """Collect the faults of all ranks; if there are none, test an all-reduce over them.

    A rank that never connects is named by its number alone, as its node is unknown.
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
        return rendezvous_failure(f"the ranks cannot connect to each other: {error}")
    answer = merge_reports(reports)
    if not answer.faults:
        wrong = sum_fault(distributed.PrefixStore("sum", store), gpus, rank, world)
        if wrong:
            answer = rendezvous_failure(f"{wrong} (nodes {', '.join(answer.nodes)})")
    # Rank 0 holds the store, so it must exit last.
    store.set(f"left-{rank}", "1")
    if rank == 0:
        store.wait([f"left-{number}" for number in range(world)], limit)
    return answer


def rendezvous_failure(text: str) -> NodeProbeResult:
    """The result if the ranks fail together and no single node is at fault."""
    fault = NodeFault(kind=NodeFaultKind.RENDEZVOUS, text=text)
    return NodeProbeResult(nodes=(own_node(),), faults=(fault,))


def sum_fault(store: Any, gpus: Gpus, rank: int, world: int) -> str:
    """Run an all-reduce over all ranks; return the problem, or "" if none."""
    from torch import distributed

    try:
        distributed.init_process_group(
            gpus.collectives, store=store, rank=rank, world_size=world,
            timeout=timedelta(seconds=MEET_LIMIT_S),
        )  # fmt: skip
        found, expected = gpus.sum_over_ranks(rank), world * (world + 1) // 2
        distributed.destroy_process_group()
    except (distributed.DistError, RuntimeError) as error:
        return f"all-reduce over the ranks failed ({gpus.collectives}): {error}"
    return (
        "" if found == expected else f"all-reduce over the ranks gave {found} instead of {expected}"
    )


def merge_reports(reports: Sequence[RankFaults]) -> NodeProbeResult:
    """Merge the reports of all ranks into one result."""
    return NodeProbeResult(
        nodes=tuple(dict.fromkeys(one.node for one in reports)),
        faults=tuple(dict.fromkeys(fault for one in reports for fault in one.faults)),
    )


def own_node() -> str:
    """SLURM's name of this node."""
    return os.environ["HALA_NODE"]


def main(asked: NodeProbeRequest, gpus: Gpus) -> NodeProbeResult:
    """Check the GPUs of this rank; return the result of all ranks."""
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
    more = f"; {visible} are visible" if (visible := gpus.count()) > asked.gpus else ""
    message = f"{asked.gpus} GPUs are free, have no errors and give right results{more}"
    return answer.model_copy(update={"message": message})


def import_fault() -> str:
    """Why torch cannot be imported; "" if it can.

    An unreadable file is raised instead: the fault may be a disk of this node alone.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        return f"the environment is broken: {error}"
    except OSError as error:
        # The dynamic loader raises OSError without errno for a missing library; a disk sets it.
        if error.errno is not None:
            raise
        return f"the environment is broken: {error}"
    return ""


def print_result_and_exit(gpus: Gpus) -> NoReturn:
    """Run the probe that the command line requests, print its result and end this process."""
    found = main(NodeProbeRequest.from_json(sys.argv[1], "argument of node_health_probe"), gpus)
    print(f"\n{RESULT_PREFIX}{found.line()}", flush=True)
    # os._exit: collectives leave threads behind that can block a normal exit.
    os._exit(0)


if __name__ == "__main__":
    print_result_and_exit(Gpus())
