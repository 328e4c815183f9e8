"""Compare the minimum memory of the nodes of a plan with what their jobs request."""

import os
from collections.abc import Mapping

from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.planning.plan_estimate import estimate_plan
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.estimate import Estimate, MemoryNeed
from hala_hpc.core.launcher import Launcher
from hala_hpc.engines.models.memory import format_gb


def estimate_nodes(steps: Mapping[str, Step], launcher: Launcher) -> Mapping[str, Estimate]:
    """Estimate each node for jobs that run as the launcher configures."""
    machine = None
    if launcher.backend == "local":
        from hala_hpc.core.cgroup_memory import job_memory_bytes

        machine = float(job_memory_bytes())
    return estimate_plan(steps, {**os.environ, **launcher.environment}, machine).nodes


def find_misfits(steps: Mapping[str, Step], estimates: Mapping[str, Estimate]) -> list[str]:
    """One message for each reason why a missing node does not fit the resources it requests."""
    return [
        f"{name}: {fault}"
        for name, step in steps.items()
        if step.state != "done"
        for fault in estimates[name].misfits
    ]


def require_enough_memory(steps: Mapping[str, Step], estimates: Mapping[str, Estimate]) -> None:
    """Raises: UserError (CONFIG) if missing nodes need more memory than their jobs get."""
    if faults := find_misfits(steps, estimates):
        raise UserError(faults, CONFIG)


def format_memory_need(need: MemoryNeed) -> str:
    """Format `9.9 GB`, `57.0 GB a GPU`, both, or a dash if unknown."""
    parts = [format_gb(need.host_bytes)] if need.host_bytes else []
    parts += [f"{format_gb(need.gpu_bytes)} a GPU"] if need.gpu_bytes else []
    return ", ".join(parts) or "-"
