"""GPU hours of a node by the shipped table: what its stage estimates, and how fast a GPU is."""

from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.planning.plan_estimate import shipped_throughput
from hala_hpc.core.estimate import Estimate
from hala_hpc.engines.models.gpus import peak_flops

HOUR_S = 3600


def gpus(step: Step) -> int:
    """GPUs of one worker over all its machines."""
    asked = step.node.settings.resources
    return asked.nodes * asked.gpus_per_node


def speed(step: Step) -> float:
    """How fast the GPUs of a node are beside those of the table, by their peaks."""
    own = shipped_throughput().peak_flops
    return (peak_flops(step.node.settings.resources.options.get("gpu_type", "")) or own) / own


def gpu_hours_of(step: Step, estimate: Estimate) -> float | None:
    """GPU hours of a whole node by the table; None where its model or its rows are not known."""
    model, seconds = estimate.model, estimate.gpu_seconds
    if model is None or seconds is None:
        return None
    start = shipped_throughput().start
    each = start.seconds + model.billions * start.seconds_per_billion
    return (seconds / speed(step) + each * gpus(step) * step.workers) / HOUR_S
