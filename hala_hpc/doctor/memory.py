"""Check that the models of a recipe fit into the memory that their jobs request."""

from collections.abc import Mapping

from hala_hpc.commands.planning.memory_plan import estimate_nodes, find_misfits
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.launcher import Launcher
from hala_hpc.doctor.findings import Finding

WHY = "the job would be killed or would fail at its start, after its wait in the queue"


def memory_findings(steps: Mapping[str, Step], launcher: Launcher) -> list[Finding]:
    """One finding for each node that cannot fit, else one with the number of nodes that fit.

    Nodes with models of unknown size are not counted.
    """
    estimates = estimate_nodes(steps, launcher)
    if faults := find_misfits(steps, estimates):
        return [Finding("memory", "error", fault, WHY, "see the message") for fault in faults]
    needs = [estimates[name].need for name, step in steps.items() if step.state != "done"]
    known = sum(bool(need.host_bytes or need.gpu_bytes) for need in needs)
    if not known:
        return []
    what = f"{known} nodes with models of known size have at least the memory that they need"
    return [Finding("memory", "good", what, "weights and states fit; see dry_run=true for each")]
