"""What a work folder has spent of its budget of GPU hours, and what is under way.

Asked before every submission, from a launch and from a gate. Spent is what accounting or the
workers say; under way is what estimates leave of nodes that are not done. What a launch is
estimated to take is asked in `commands.planning.affordable`.
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

#: A launch submits many nodes; accounting is asked once in so many seconds.
FRESH_S = 30


@dataclass(frozen=True)
class GpuHours:
    """GPU hours of a work folder."""

    spent: float
    under_way: float
    """What the estimates leave of nodes of the newest line that are not done."""


def require_budget(work: Path, spec: RoundSpec) -> None:
    """Raise UserError when nothing more may be submitted in a work folder.

    `spec` is that of the round to come; one that asks for no GPU may always be. To be called
    before every submission.
    """
    budget = spec.launcher.budget_gpu_hours
    if budget is None or not spec.resources.gpus_per_node:
        return
    run = read_run(work)
    hours = hours_of(work, run.nodes)
    # Who confirmed a line did not believe its estimates.
    confirmed = run.overrides.get("confirm", "").lower() in ("true", "1", "yes")
    under_way = 0.0 if confirmed else hours.under_way
    if hours.spent < budget and hours.spent + under_way <= budget:
        return
    more = f" and about {format_hours(under_way)} are under way" if under_way else ""
    raise UserError(
        f"budget_gpu_hours={budget:g}: {format_hours(hours.spent)} GPU hours are spent{more}, so nothing "
        "more is submitted; launch it again with a larger budget_gpu_hours",
        CONFIG,
    )


_known: dict[Path, tuple[float, GpuHours]] = {}


def hours_of(work: Path, nodes: Iterable[RunNode]) -> GpuHours:
    """GPU hours of a folder and the nodes of its newest line, at most half a minute old."""
    at, hours = _known.get(work, (-FRESH_S, GpuHours(0.0, 0.0)))
    if time.monotonic() - at >= FRESH_S:
        spent = measure_gpu_hours(work, SlurmBackend().query_usage)
        left = sum(remaining_gpu_hours(node, spent.get(node.artifact, 0.0)) for node in nodes)
        hours = GpuHours(sum(spent.values()), left)
        _known[work] = time.monotonic(), hours
    return hours


def remaining_gpu_hours(node: RunNode, spent: float) -> float:
    """What a node will still take: by its estimate, or by what the part that is done has taken."""
    if node.artifact.summary() is not None:
        return 0.0
    share = len(node.artifact.done_units()) / max(1, node.units)
    measured = spent * (1 - share) / share if share else 0.0
    return max(measured, (node.gpu_hours or 0.0) - spent)
