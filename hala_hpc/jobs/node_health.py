"""Check the GPUs and disks of a node before a model is loaded; refuse a faulty node.

The child process `node_health_probe` checks the GPUs, so that no memory stays allocated on them.
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

#: Time limit of the child in seconds: imports from a busy file system, GPUs, and waiting for ranks.
PROBE_LIMIT_S = 600
#: Minimum free space in bytes of the node's local disk and of the work folder: with less, compilers
#: and engines fail midway.
MIN_LOCAL_BYTES = 2**30
MIN_WORK_BYTES = 2**30
#: Share of a GPU's memory that must be free: vLLM's default gpu_memory_utilization.
MIN_FREE_SHARE = 0.9
#: Module that the child runs.
PROBE = "hala_hpc.jobs.node_health_probe"
#: Prefix of the child's output line with its result.
RESULT_PREFIX = "node_health_probe:"
#: Lines of the child's output that are shown if it has no result.
SHOWN_LINES = 5


class NodeProbeRequest(JsonRecord):
    """Arguments of the probe."""

    gpus: int
    """GPUs of the job on this node."""
    ranks_per_node: int = 1
    free_share: float = MIN_FREE_SHARE
    """Share of a GPU's memory that must be free."""
    compiles: bool = True
    """Whether the job compiles kernels, as vLLM and training do."""


def check_node(resources: Resources, work: Path, compiles: bool = True) -> None:
    """Check the disks and GPUs of this node, if a scheduler chose it; log a line if they are fine.

    `compiles`: whether the job compiles kernels, and so needs a compiler.

    Raises: BadNode, naming node and GPU, if this node is faulty; UserError (CONFIG) if the set-up
    cannot use GPUs, or torch is built for CPUs and the launcher does not allow it; UserError
    (CANNOT_CREATE) if the disk of the work folder is full; TransientError if the ranks cannot
    connect.
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
    """Check the result of a probe; faults of the set-up first, as they affect all nodes.

    Raises: UserError (CONFIG), BadNode or TransientError, by the kind of fault.
    """
    if faults := answer.set_up_faults:
        raise UserError([describe_set_up_fault(fault) for fault in faults], CONFIG)
    if faults := answer.node_faults:
        raise BadNode("; ".join(fault.message for fault in faults), nodes=answer.bad_nodes)
    if faults := answer.faults:
        raise TransientError("; ".join(fault.message for fault in faults))


def require_node_disk_space(node: str, work: Path) -> None:
    """Check the free space of the local disk and of the work folder.

    Raises: BadNode if the local disk is nearly full; UserError (CANNOT_CREATE) if that of the work
    folder is.
    """
    local = Path(tempfile.gettempdir())
    free = shutil.disk_usage(local).free
    if free < MIN_LOCAL_BYTES:
        text = (
            f"node {node}: {local} has {free / 2**30:.2f} GB left; free some space, or set TMPDIR"
        )
        raise BadNode(text, nodes=(node,))
    free = shutil.disk_usage(work).free
    if free < MIN_WORK_BYTES:
        raise UserError(
            f"{work} has {free / 2**30:.2f} GB left on its disk; free some space, then run the "
            "same command again",
            CANNOT_CREATE,
        )


def has_gpu_build() -> bool:
    """Whether torch was built for GPUs, without importing it, which takes seconds."""
    build = own_build()
    return build is not None and build.device == "cuda"


def require_cpu_intended() -> None:
    """Check that the launcher allows jobs with GPUs to use a torch for CPUs.

    The environment is at fault, and the same on every node.

    Raises: UserError (CONFIG) if the launcher does not allow it.
    """
    if os.environ.get(DEVICE_VARIABLE) == "cpu":
        return
    build = own_build()
    problem = f"is built for CPUs ({build.version})" if build else "is missing"
    raise UserError(
        f"this job requests GPUs, but the torch of its environment {sys.prefix} {problem}: run "
        f"`{DEVICE_VARIABLE}=cuda make env` and the launch command again. If CPUs are intended, "
        f'set in the launcher: [environment] {DEVICE_VARIABLE} = "cpu"',
        CONFIG,
    )


def probe_node(
    node: str, asked: NodeProbeRequest, limit_s: float = PROBE_LIMIT_S
) -> NodeProbeResult:
    """Run the probe on this node; a probe that hangs or crashes is a fault of the node."""
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
        # A process that hangs in a driver may survive SIGKILL, so it is not waited for.
        child.kill()
        return probe_failure(node, f"the check of its GPUs did not finish within {limit_s:.0f} s")
    answers = [line for line in output.splitlines() if line.startswith(RESULT_PREFIX)]
    if answers:
        return NodeProbeResult.from_json(
            answers[-1].removeprefix(RESULT_PREFIX), "result of node_health_probe"
        )
    end = " | ".join(output.splitlines()[-SHOWN_LINES:])
    return probe_failure(node, f"the check of its GPUs ended with code {child.returncode}: {end}")


def probe_failure(node: str, text: str) -> NodeProbeResult:
    """The result for a node whose probe returned none."""
    fault = NodeFault(kind=NodeFaultKind.NO_ANSWER, node=node, text=text)
    return NodeProbeResult(nodes=(node,), faults=(fault,))
