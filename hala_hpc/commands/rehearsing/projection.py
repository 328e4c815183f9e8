"""Project the full run from its rehearsal: the time of each node scaled with its work."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning.cost import HOUR_S, estimate_costs, gpus_per_worker
from hala_hpc.commands.planning.memory_plan import estimate_nodes
from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.rehearsing.measurements import NodeMeasurement, measure_node
from hala_hpc.core.estimate import Estimate
from hala_hpc.core.rehearsal import REHEARSAL_PREFIX
from hala_hpc.core.stage import UnknownInputs


@dataclass(frozen=True)
class Projection:
    """Resources of a node of the full run, by its rehearsal; None if unknown."""

    step: Step
    measured: NodeMeasurement
    """Measurements of its rehearsal."""
    growth: float | None = None
    """Ratio of its work to that of the rehearsal."""
    job_s: float | None = None
    """Seconds of all its workers."""
    wall_s: float | None = None
    """Seconds from start to end if all workers start at the same time."""
    gpu_hours: float | None = None
    shipped_gpu_hours: float | None = None
    """By the shipped table, as the dry run prints."""


def project_full_run(
    command_line: CommandLine, full: Mapping[str, Step], rehearsed: Mapping[str, Step]
) -> dict[str, Projection]:
    """Project each node of the full run from its rehearsal; by name in the recipe, inputs first."""
    # As if nothing were done: counts of finished nodes would hide the ratio of the two.
    whole, small = as_new(full), as_new(rehearsed)
    of_whole = estimate_nodes(whole, command_line.launcher)
    of_small = estimate_nodes(small, command_line.launcher)
    shipped = estimate_costs(whole, of_whole) if command_line.launcher.backend == "slurm" else {}
    found: dict[str, Projection] = {}
    for name, step in full.items():
        other = rehearsed_name(name, rehearsed)
        growth = growth_of(step, of_whole[name], of_small[other])
        hours = shipped[name].left if name in shipped else None
        found[name] = projection_of(step, measure_node(rehearsed[other]), growth, hours)
    return found


def as_new(steps: Mapping[str, Step]) -> dict[str, Step]:
    """The steps of a plan as if none were done."""
    return {name: replace(step, state="new") for name, step in steps.items()}


def rehearsed_name(name: str, rehearsed: Mapping[str, Step]) -> str:
    """The name of a node in its rehearsal: unchanged if the rehearsal uses the real node."""
    return name if name in rehearsed else f"{REHEARSAL_PREFIX}{name}"


def growth_of(step: Step, full: Estimate, rehearsed: Estimate) -> float | None:
    """Ratio of the work of a node to that of its rehearsal; None if unknown."""
    settings = step.node.settings
    if step.node.stage(settings, UnknownInputs()).rehearsed() == settings:
        # The rehearsal does not shrink it, e.g. a merge.
        return 1.0
    return full.work / rehearsed.work if full.work and rehearsed.work else None


def projection_of(
    step: Step, measured: NodeMeasurement, growth: float | None, shipped: float | None
) -> Projection:
    """Project a node from the measurements of its rehearsal."""
    if growth == 1.0 and measured.work_s is None and measured.start_s:
        hours = measured.start_s * gpus_per_worker(step) / HOUR_S
        return Projection(
            step, measured, growth, measured.start_s, measured.start_s, hours, shipped
        )
    if growth is None or measured.work_s is None:
        return Projection(step, measured, growth, shipped_gpu_hours=shipped)
    work_s = measured.work_s * growth
    job_s = work_s + measured.start_s * step.workers
    return Projection(
        step,
        measured,
        growth,
        job_s,
        measured.start_s + work_s / step.workers,
        job_s * gpus_per_worker(step) / HOUR_S,
        shipped,
    )


def longest_path_s(found: Mapping[str, Projection]) -> float | None:
    """Seconds of the full run if every node starts as soon as its inputs are done.

    None if the time of a node is unknown.
    """
    ends: dict[str, float] = {}
    for name, one in found.items():
        if one.wall_s is None:
            return None
        before = [ends[i] for i in one.step.node.input_nodes() if i in ends]
        ends[name] = max(before, default=0.0) + one.wall_s
    return max(ends.values(), default=0.0)
