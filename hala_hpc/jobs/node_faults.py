"""What can be wrong with a node: kinds of faults, who can mend each, and the answer of a look.

A fault of the set-up (driver, compiler, packages) is on every node alike, so that going elsewhere
wins nothing; a fault of a node is mended by another node.
"""

from collections.abc import Mapping
from enum import StrEnum

from hala_hpc.core.record import JsonRecord


class NodeFaultKind(StrEnum):
    """What is wrong with a node."""

    ENVIRONMENT = "environment"
    """Torch cannot be imported."""
    OLD_DRIVER = "old_driver"
    """The driver is older than the CUDA that torch was built with wants."""
    UNSUPPORTED_GPU = "unsupported_gpu"
    """Torch was built without code for such a GPU."""
    COMPILER = "compiler"
    """No C compiler, or what it makes cannot be loaded."""
    HEADERS = "headers"
    """Python.h is not there."""
    KERNEL = "kernel"
    """Triton's kernels cannot be compiled or started, though the GPU calculates."""
    MISSING_GPU = "missing_gpu"
    DEAD_GPU = "dead_gpu"
    """CUDA does not start on it."""
    HELD_MEMORY = "held_memory"
    """Somebody else holds memory of it."""
    MEMORY_ERRORS = "memory_errors"
    """Its memory had errors that were not corrected (ECC)."""
    WRONG_RESULT = "wrong_result"
    """It calculates wrongly, or not at all."""
    ALL_REDUCE = "all_reduce"
    """The GPUs of the node cannot add up a number."""
    NO_ANSWER = "no_answer"
    """The look at the GPUs hung or broke."""
    RENDEZVOUS = "meeting"
    """The ranks of a job do not find each other, or add up wrongly."""


#: What the admins, or whoever made the environment, must mend, each with the cure.
SET_UP_FIXES: Mapping[NodeFaultKind, str] = {
    NodeFaultKind.ENVIRONMENT: "run `make env` again, on a file system that all nodes see",
    NodeFaultKind.OLD_DRIVER: "ask the admins for a newer driver (a module of CUDA is no driver), or "
    "name nodes that have one: options.partition, options.constraint",
    NodeFaultKind.UNSUPPORTED_GPU: "ask for newer GPUs: options.gpu_type, options.constraint",
    NodeFaultKind.COMPILER: "load a compiler in the launcher, e.g. setup = ['module load gcc'], or ask "
    "the admins for gcc on the compute nodes",
    NodeFaultKind.HEADERS: "ask the admins for the headers of this Python on the compute nodes "
    "(python3-devel, python3-dev), or make the environment with a Python that brings its own",
    NodeFaultKind.KERNEL: "see the text, and `setup` of the launcher",
}
#: Of these nobody knows whose fault they are: another attempt may do.
UNATTRIBUTED = (NodeFaultKind.RENDEZVOUS,)


class NodeFault(JsonRecord):
    """One thing that is wrong with a node."""

    kind: NodeFaultKind
    node: str = ""
    """Name of the node in the scheduler; "" where it is not known which is to blame."""
    text: str
    """The fact, for people, with numbers."""

    @property
    def message(self) -> str:
        """The node and the fact."""
        return f"node {self.node}: {self.text}" if self.node else self.text


class NodeProbeResult(JsonRecord):
    """What the look at the nodes of a job found."""

    nodes: tuple[str, ...] = ()
    """Those that were looked at."""
    faults: tuple[NodeFault, ...] = ()
    message: str = ""
    """A line when all is well."""

    @property
    def set_up_faults(self) -> tuple[NodeFault, ...]:
        """Faults that no other node would mend: of the set-up, and on every node of the job.

        Where one of a job's nodes lacks what the others have, that node is to blame.
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
        """Faults that another node would mend."""
        others = (one for one in self.faults if one not in self.set_up_faults)
        return tuple(one for one in others if one.kind not in UNATTRIBUTED)

    @property
    def bad_nodes(self) -> tuple[str, ...]:
        """Names of the nodes that are to blame, each once."""
        return tuple(dict.fromkeys(one.node for one in self.node_faults))


def describe_set_up_fault(fault: NodeFault) -> str:
    """A fault of the set-up with its cure, in one line."""
    return (
        f"{fault.message}. Other nodes with the same set-up end alike: {SET_UP_FIXES[fault.kind]}; "
        "if this node alone is so, exclude it with options.exclude"
    )
