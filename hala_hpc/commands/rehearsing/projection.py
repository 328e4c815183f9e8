"""The full run from what its rehearsal took: each node's time, grown with its work."""

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
    """What a node of the full run will take, by its rehearsal; None for what is not known."""

    step: Step
    measured: NodeMeasurement
    """What its rehearsal has shown."""
    growth: float | None = None
    """How many times the work of the rehearsal it has."""
    job_s: float | None = None
    """Seconds of all its workers."""
    wall_s: float | None = None
    """Seconds from its start to its end, where all workers start at once."""
    gpu_hours: float | None = None
    shipped_gpu_hours: float | None = None
    """By the shipped table, as the dry run tells."""


def project_full_run(
    command_line: CommandLine, full: Mapping[str, Step], rehearsed: Mapping[str, Step]
) -> dict[str, Projection]:
    """Each node of the full run and its rehearsal, by its name in the recipe, inputs first."""
    # As if nothing were done: what both have counted would hide how the one grows to the other.
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
    """The steps of a plan as if nothing of it were done."""
    return {name: replace(step, state="new") for name, step in steps.items()}


def rehearsed_name(name: str, rehearsed: Mapping[str, Step]) -> str:
    """The name of a node of the recipe in its rehearsal: its own where it is the real one."""
    return name if name in rehearsed else f"{REHEARSAL_PREFIX}{name}"


def growth_of(step: Step, full: Estimate, rehearsed: Estimate) -> float | None:
    """How many times the work of its rehearsal a node has; None if unknown."""
    settings = step.node.settings
    if step.node.stage(settings, UnknownInputs()).rehearsed() == settings:
        # Nothing of it shrinks, as of a merge.
        return 1.0
    return full.work / rehearsed.work if full.work and rehearsed.work else None


def projection_of(
    step: Step, measured: NodeMeasurement, growth: float | None, shipped: float | None
) -> Projection:
    """What a node will take, from what its rehearsal took."""
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
    """Seconds of the full run where every node starts as soon as its inputs are done.

    None where a node on the way is not known.
    """
    ends: dict[str, float] = {}
    for name, one in found.items():
        if one.wall_s is None:
            return None
        before = [ends[i] for i in one.step.node.input_nodes() if i in ends]
        ends[name] = max(before, default=0.0) + one.wall_s
    return max(ends.values(), default=0.0)
