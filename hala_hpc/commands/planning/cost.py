"""Estimate GPU hours of the nodes of a plan: from measurements of this run, else a shipped table.

An estimate, right within a factor of two or three (see `throughput.toml`). Once a part of a node is
done, the rest is estimated from what that part took. So are nodes of the same stage that have a
model of the same size.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.planning.plan_estimate import shipped_throughput
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import Damaged
from hala_hpc.core.estimate import Estimate, ModelSize, format_hours
from hala_hpc.core.records import NodeConfig, NodeSummary
from hala_hpc.engines.models.gpus import peak_flops

#: Nodes of one kind have the same stage and models of the same size.
Kind = tuple[str, ModelSize | None]
HOUR_S = 3600


@dataclass(frozen=True)
class Cost:
    """GPU hours of a node."""

    left: float | None
    """Hours of the missing units; 0 if no GPU is requested, None if unknown."""
    spent: float = 0.0
    """As recorded by its workers."""
    measured: bool = False
    """Whether `left` is based on measurements of this run."""

    @property
    def total(self) -> float | None:
        """Hours from start to end."""
        return None if self.left is None else self.spent + self.left

    def describe_left(self) -> str:
        """Format the remaining hours: `0`, `?`, `~12` or `~12 (measured)`."""
        if not self.left:
            return "?" if self.left is None else "0"
        return f"~{format_hours(self.left)}{' (measured)' if self.measured else ''}"


def estimate_costs(steps: Mapping[str, Step], nodes: Mapping[str, Estimate]) -> dict[str, Cost]:
    """Estimate the cost of every node, inputs first in `steps`; `nodes`: their estimates."""
    asking = {name: step for name, step in steps.items() if gpus_per_worker(step)}
    spent = {name: spent_hours(step.artifact) for name, step in asking.items() if has_started(step)}
    wholes = {name: gpu_hours_of(step, nodes[name]) for name, step in asking.items()}
    kinds = {name: (step.node.stage.name, nodes[name].model) for name, step in asking.items()}
    # Hours that nodes of a kind took, and the hours of the same part by the table.
    measured_hours, table_hours = defaultdict[Kind, float](float), defaultdict[Kind, float](float)
    for name, step in asking.items():
        share, hours = share_done(step), spent.get(name, 0.0)
        if step.older and is_alike(step.older, step):
            share, hours = share_in(step.older), spent_hours(step.older)
        if share and hours and (whole := wholes[name]):
            measured_hours[kinds[name]] += hours
            table_hours[kinds[name]] += whole * share
    found = dict.fromkeys(steps, Cost(0.0))
    for name, step in asking.items():
        kind, whole = kinds[name], wholes[name]
        factor = measured_hours[kind] / table_hours[kind] if kind in measured_hours else None
        found[name] = cost_of(share_done(step), spent.get(name, 0.0), whole, factor)
    return found


def cost_of(share: float, spent: float, table_hours: float | None, factor: float | None) -> Cost:
    """Cost of a node of which a share is done; `factor`: measured hours by those of the table."""
    if share == 1.0:
        return Cost(0.0, spent)
    if share and spent:
        return Cost(spent * (1 - share) / share, spent, measured=True)
    if table_hours is None:
        return Cost(None, spent)
    return Cost(table_hours * (factor or 1.0) * (1 - share), spent, measured=factor is not None)


def sum_left(found: Iterable[Cost]) -> tuple[float, int]:
    """Sum the remaining GPU hours; count the nodes whose hours are unknown."""
    left = [cost.left for cost in found]
    return sum(hours for hours in left if hours), left.count(None)


def share_done(step: Step) -> float:
    """Share of a node that is done, 0 to 1."""
    return 1.0 if step.state == "done" else step.done_units / max(1, step.units)


def has_started(step: Step) -> bool:
    """Whether jobs of a node may have run."""
    return step.state in ("partial", "damaged", "cleaned", "done")


def is_alike(older: Artifact, step: Step) -> bool:
    """Whether an older result used the same model, so that its hours apply to the new one."""
    config = NodeConfig.read_if_valid(older.config_file)
    model = config.settings.get("model") if config else None
    return bool(model == getattr(step.node.settings, "model", None))


def share_in(artifact: Artifact) -> float:
    """Share of an older result that is done, 0 to 1."""
    if NodeSummary.read_if_valid(artifact.summary_file) is not None:
        return 1.0
    config = NodeConfig.read_if_valid(artifact.config_file)
    try:
        return len(artifact.done_units()) / max(1, config.units if config else 0)
    except Damaged:
        return 0.0


def spent_hours(artifact: Artifact) -> float:
    """GPU hours that the workers of a node recorded; 0 for runs on this machine."""
    # Imported only if jobs have run: a first dry run does not need it.
    from hala_hpc.jobs.gpu_hours import gpu_work, seconds_of_attempts

    work = gpu_work(artifact)
    return sum(seconds_of_attempts(artifact)) * work.gpus / HOUR_S if work else 0.0


def gpus_per_worker(step: Step) -> int:
    """GPUs of one worker over all its nodes."""
    resources = step.node.settings.resources
    return resources.nodes * resources.gpus_per_node


def relative_gpu_speed(step: Step) -> float:
    """Speed of a node's GPUs relative to those of the table, by peak FLOP/s."""
    own = shipped_throughput().peak_flops
    return (peak_flops(step.node.settings.resources.options.get("gpu_type", "")) or own) / own


def gpu_hours_of(step: Step, estimate: Estimate) -> float | None:
    """GPU hours of a whole node by the table; None if its model or rows are unknown."""
    model, seconds = estimate.model, estimate.gpu_seconds
    if model is None or seconds is None:
        return None
    start = shipped_throughput().start
    each = start.seconds + model.billions * start.seconds_per_billion
    return (
        seconds / relative_gpu_speed(step) + each * gpus_per_worker(step) * step.workers
    ) / HOUR_S
