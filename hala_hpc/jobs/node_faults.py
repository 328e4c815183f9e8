"""Faults of a compute node: their kinds, the fix for each, and the result of a health probe.

A fault of the set-up (driver, compiler, packages) is the same on every node, so another node does
not help. A fault of one node is avoided on another.
"""

from collections.abc import Mapping
from enum import StrEnum

from hala_hpc.core.record import JsonRecord


class NodeFaultKind(StrEnum):
    """Kind of fault of a node."""

    ENVIRONMENT = "environment"
    """torch cannot be imported."""
    OLD_DRIVER = "old_driver"
    """The driver is too old for the CUDA that torch was built with."""
    UNSUPPORTED_GPU = "unsupported_gpu"
    """torch was built without code for this GPU."""
    COMPILER = "compiler"
    """No C compiler, or its output cannot be loaded."""
    HEADERS = "headers"
    """Python.h is missing."""
    KERNEL = "kernel"
    """Triton kernels cannot be compiled or started, though the GPU works with torch."""
    MISSING_GPU = "missing_gpu"
    DEAD_GPU = "dead_gpu"
    """CUDA does not start on the GPU."""
    HELD_MEMORY = "held_memory"
    """Another process holds memory of the GPU."""
    MEMORY_ERRORS = "memory_errors"
    """The memory of the GPU had uncorrected errors (ECC)."""
    WRONG_RESULT = "wrong_result"
    """The GPU gives wrong results or none."""
    ALL_REDUCE = "all_reduce"
    """An all-reduce over the GPUs of the node fails."""
    NO_ANSWER = "no_answer"
    """The health probe hung or failed."""
    RENDEZVOUS = "meeting"
    """The ranks of a job cannot connect to each other, or their all-reduce is wrong."""


#: Faults that the admins or the owner of the environment must fix, each with the fix.
SET_UP_FIXES: Mapping[NodeFaultKind, str] = {
    NodeFaultKind.ENVIRONMENT: "run `make env` again, on a file system that all nodes share",
    NodeFaultKind.OLD_DRIVER: "ask the admins for a newer driver (a CUDA module is not one), or "
    "select nodes that have one: options.partition, options.constraint",
    NodeFaultKind.UNSUPPORTED_GPU: "request newer GPUs: options.gpu_type, options.constraint",
    NodeFaultKind.COMPILER: "load a compiler in the launcher, e.g. setup = ['module load gcc'], or "
    "ask the admins for gcc on the compute nodes",
    NodeFaultKind.HEADERS: "ask the admins for the headers of this Python on the compute nodes "
    "(python3-devel, python3-dev), or build the environment with a Python that includes them",
    NodeFaultKind.KERNEL: "see the message, and `setup` of the launcher",
}
#: Faults whose node is unknown: another attempt may succeed.
UNATTRIBUTED = (NodeFaultKind.RENDEZVOUS,)


class NodeFault(JsonRecord):
    """One fault of a node."""

    kind: NodeFaultKind
    node: str = ""
    """SLURM's name of the node; "" if it is unknown which node is at fault."""
    text: str
    """Description for users, with numbers."""

    @property
    def message(self) -> str:
        """The node and the description."""
        return f"node {self.node}: {self.text}" if self.node else self.text


class NodeProbeResult(JsonRecord):
    """Result of the health probe over the nodes of a job."""

    nodes: tuple[str, ...] = ()
    """Names of the probed nodes."""
    faults: tuple[NodeFault, ...] = ()
    message: str = ""
    """One line if there are no faults."""

    @property
    def set_up_faults(self) -> tuple[NodeFault, ...]:
        """Set-up faults that are on every node of the job, so that another node does not help.

        If only some nodes of a job have the fault, those nodes are at fault.
        """
        having = {
            kind: {one.node for one in self.faults if one.kind is kind} for kind in SET_UP_FIXES
        }
        return tuple(
            one
            for one in self.faults
            if one.kind in SET_UP_FIXES and having[one.kind] >= set(self.nodes)
        )

    @property
    def node_faults(self) -> tuple[NodeFault, ...]:
        """Faults that another node would not have."""
        others = (one for one in self.faults if one not in self.set_up_faults)
        return tuple(one for one in others if one.kind not in UNATTRIBUTED)

    @property
    def bad_nodes(self) -> tuple[str, ...]:
        """Names of the nodes at fault, each once."""
        return tuple(dict.fromkeys(one.node for one in self.node_faults))


def describe_set_up_fault(fault: NodeFault) -> str:
    """Format a fault of the set-up with its fix, in one line."""
    return (
        f"{fault.message}. Other nodes with the same set-up fail too: {SET_UP_FIXES[fault.kind]}; "
        "if only this node has the fault, exclude it with options.exclude"
    )
