"""What a run will write, told from the sizes of its inputs; rough, and rather too much."""

from collections.abc import Mapping
from dataclasses import dataclass

from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.planning.plan_estimate import estimate_plan

#: Files of a unit and of a worker at most.
FILES_OF_UNIT, FILES_OF_WORKER = 3, 20


@dataclass(frozen=True)
class DiskEstimate:
    """What the missing nodes of a run will write, as far as it can be told beforehand."""

    least_bytes: int
    """Products and the largest node's checkpoints: as if one node ran at a time."""
    most_bytes: int
    """As if all nodes kept their checkpoints at the same time."""
    files: int
    unknown: tuple[str, ...]
    """Inputs whose size nobody knows yet."""


def estimate_disk(steps: Mapping[str, Step], environment: Mapping[str, str]) -> DiskEstimate:
    """What the missing nodes of a plan will write; inputs come first in `steps`."""
    plan = estimate_plan(steps, environment)
    products, passing, files = 0.0, [0.0], 0
    for name, step in steps.items():
        if step.state != "done":
            estimate = plan.nodes[name]
            products += estimate.output.size_bytes or 0.0
            passing.append(estimate.checkpoint_bytes)
            files += step.units * FILES_OF_UNIT + step.workers * FILES_OF_WORKER
    least, most = products + max(passing), products + sum(passing)
    unknown = sorted(name for name, amount in plan.outside.items() if amount.size_bytes is None)
    return DiskEstimate(int(least), int(most), files, tuple(unknown))
