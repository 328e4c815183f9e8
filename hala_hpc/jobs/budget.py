"""GPU hours of a work folder, spent and still to come, against its budget.

Checked before every submission, by a launch and by a gate. Spent hours come from accounting or
from the workers; those to come from the estimates of unfinished nodes. The estimate of a whole
launch is checked in `commands.planning.gpu_hours_limits`.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.estimate import format_hours
from hala_hpc.core.records import RoundSpec
from hala_hpc.core.run import RunNode, read_run
from hala_hpc.jobs.gpu_hours import measure_gpu_hours

#: A launch submits many nodes; accounting is queried once in this many seconds.
FRESH_S = 30


@dataclass(frozen=True)
class GpuHours:
    """GPU hours of a work folder."""

    spent: float
    under_way: float
    """Estimated hours that unfinished nodes of the newest launch will still take."""


def require_budget(work: Path, spec: RoundSpec) -> None:
    """Check the budget of GPU hours of a work folder; called before every submission.

    `spec` is that of the next round. A round without GPUs is always allowed.

    Raises: UserError (CONFIG) if the budget does not allow another submission.
    """
    budget = spec.launcher.budget_gpu_hours
    if budget is None or not spec.resources.gpus_per_node:
        return
    run = read_run(work)
    hours = hours_of(work, run.nodes)
    # With confirm=true the user has overruled the estimates.
    confirmed = run.overrides.get("confirm", "").lower() in ("true", "1", "yes")
    under_way = 0.0 if confirmed else hours.under_way
    if hours.spent < budget and hours.spent + under_way <= budget:
        return
    more = f" and about {format_hours(under_way)} more are estimated" if under_way else ""
    raise UserError(
        f"budget_gpu_hours={budget:g}: {format_hours(hours.spent)} GPU hours are spent{more}; "
        "nothing more is submitted. Launch again with a larger budget_gpu_hours",
        CONFIG,
    )


_known: dict[Path, tuple[float, GpuHours]] = {}


def hours_of(work: Path, nodes: Iterable[RunNode]) -> GpuHours:
    """GPU hours of a folder and the nodes of its newest launch, at most 30 s old."""
    at, hours = _known.get(work, (-FRESH_S, GpuHours(0.0, 0.0)))
    if time.monotonic() - at >= FRESH_S:
        spent = measure_gpu_hours(work, SlurmBackend().query_usage)
        left = sum(remaining_gpu_hours(node, spent.get(node.artifact, 0.0)) for node in nodes)
        hours = GpuHours(sum(spent.values()), left)
        _known[work] = time.monotonic(), hours
    return hours


def remaining_gpu_hours(node: RunNode, spent: float) -> float:
    """GPU hours that a node will still take, by its estimate or by the rate of its done units."""
    if node.artifact.summary() is not None:
        return 0.0
    share = len(node.artifact.done_units()) / max(1, node.units)
    measured = spent * (1 - share) / share if share else 0.0
    return max(measured, (node.gpu_hours or 0.0) - spent)
