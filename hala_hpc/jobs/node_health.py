"""Looks at a node before a model is loaded, and refuses one whose GPUs or disks are bad.

The GPUs are looked at by a child process, `node_health_probe`, so that nothing stays on them.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hala_hpc.core.builds import DEVICE_VARIABLE, own_build
from hala_hpc.core.errors import CANNOT_CREATE, CONFIG, BadNode, TransientError, UserError
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.resources import Resources
from hala_hpc.jobs.node_faults import (
    NodeFault,
    NodeFaultKind,
    NodeProbeResult,
    describe_set_up_fault,
)

logger = logging.getLogger(__name__)

#: How long the child may take: imports from a busy file system, GPUs, and waiting for other ranks.
PROBE_LIMIT_S = 600
#: Free space below which compilers and engines fail half-way: of the node's own disk and of the
#: work folder, in bytes.
MIN_LOCAL_BYTES = 2**30
MIN_WORK_BYTES = 2**30
#: Share of a GPU's memory that must be free: what vLLM takes by default.
MIN_FREE_SHARE = 0.9
#: The module that the child runs.
PROBE = "hala_hpc.jobs.node_health_probe"
#: Begins the line of the child that holds its answer.
RESULT_PREFIX = "node_health_probe:"
#: Lines of the child's words that are told when it has no answer.
SHOWN_LINES = 5


class NodeProbeRequest(JsonRecord):
    """What the child looks for."""

    gpus: int
    """Of the job on this node."""
    ranks_per_node: int = 1
    free_share: float = MIN_FREE_SHARE
    """Share of a GPU's memory that must be free."""
    compiles: bool = True
    """Whether the job compiles kernels, as vLLM and trainings do."""


def check_node(resources: Resources, work: Path, compiles: bool = True) -> None:
    """Look at this node's disks and GPUs; logs a line when all is well.

    `compiles`: whether the job compiles kernels, and needs a compiler. Only where a scheduler chose
    the node. Raises BadNode that names node and GPU, UserError where no other node would do (78 for
    a set-up that is not fit for GPUs, or a torch for CPUs that nobody says is meant; 73 for a work
    folder that is full), and Retry where the ranks cannot talk to each other.
    """
    node = os.environ.get("HALA_NODE", "")
    if not node:
        return
    require_node_disk_space(node, work)
    if not has_gpu_build():
        require_cpu_intended()
        return
    if not resources.check_gpus:
        return
    asked = NodeProbeRequest(
        gpus=resources.gpus_per_node, ranks_per_node=resources.ranks_per_node, compiles=compiles
    )
    answer = probe_node(node, asked)
    require_healthy(answer)
    logger.info("node %s: %s", node, answer.message)


def require_healthy(answer: NodeProbeResult) -> None:
    """Raise what the faults of an answer call for; the set-up first, as it would end all nodes."""
    if faults := answer.set_up_faults:
        raise UserError([describe_set_up_fault(fault) for fault in faults], CONFIG)
    if faults := answer.node_faults:
        raise BadNode("; ".join(fault.message for fault in faults), nodes=answer.bad_nodes)
    if faults := answer.faults:
        raise TransientError("; ".join(fault.message for fault in faults))


def require_node_disk_space(node: str, work: Path) -> None:
    """Raise BadNode or UserError where a disk is as good as full."""
    local = Path(tempfile.gettempdir())
    free = shutil.disk_usage(local).free
    if free < MIN_LOCAL_BYTES:
        text = f"node {node}: {local} has {free / 2**30:.2f} GB left; clean it, or set TMPDIR"
        raise BadNode(text, nodes=(node,))
    free = shutil.disk_usage(work).free
    if free < MIN_WORK_BYTES:
        raise UserError(
            f"{work} has {free / 2**30:.2f} GB left on its disk: make room, then give the same "
            "line again",
            CANNOT_CREATE,
        )


def has_gpu_build() -> bool:
    """Whether torch was built for GPUs. Not asked of torch itself: its import takes seconds."""
    build = own_build()
    return build is not None and build.device == "cuda"


def require_cpu_intended() -> None:
    """Raise UserError (78) unless the launcher says that jobs with GPUs calculate on CPUs.

    Every node would tell the same: the environment is at fault.
    """
    if os.environ.get(DEVICE_VARIABLE) == "cpu":
        return
    build = own_build()
    problem = f"is built for CPUs ({build.version})" if build else "is not there"
    raise UserError(
        f"this job asks for GPUs, and the torch of its environment {sys.prefix} {problem}: run "
        f"`{DEVICE_VARIABLE}=cuda make env` and give the line of the launch again, or where CPUs are "
        f'meant say so in the launcher: [environment] {DEVICE_VARIABLE} = "cpu"',
        CONFIG,
    )


def probe_node(
    node: str, asked: NodeProbeRequest, limit_s: float = PROBE_LIMIT_S
) -> NodeProbeResult:
    """What the child finds on this node; a child that hangs or breaks is a fault of the node."""
    child = subprocess.Popen(
        [sys.executable, "-m", PROBE, asked.line()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "HALA_NODE": node},
    )
    try:
        output, _ = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        # A process that hangs in a driver may outlive even this, so that it is not waited for.
        child.kill()
        return probe_failure(node, f"the look at its GPUs did not end in {limit_s:.0f} s")
    answers = [line for line in output.splitlines() if line.startswith(RESULT_PREFIX)]
    if answers:
        return NodeProbeResult.from_json(
            answers[-1].removeprefix(RESULT_PREFIX), "answer of node_health_probe"
        )
    end = " | ".join(output.splitlines()[-SHOWN_LINES:])
    return probe_failure(node, f"the look at its GPUs ended with code {child.returncode}: {end}")


def probe_failure(node: str, text: str) -> NodeProbeResult:
    """What is said of a node where the child has no answer."""
    fault = NodeFault(kind=NodeFaultKind.NO_ANSWER, node=node, text=text)
    return NodeProbeResult(nodes=(node,), faults=(fault,))
