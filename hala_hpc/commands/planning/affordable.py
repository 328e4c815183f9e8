"""Whether a launch may take the GPU hours that it is estimated to take: its limit, its budget."""

from collections.abc import Mapping

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.commands.command_line import Line
from hala_hpc.commands.planning.cost import Cost, sum_left
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.estimate import shown
from hala_hpc.core.rehearsal import PREFIX
from hala_hpc.jobs.gpu_hours import hours_in

#: A launch of more estimated GPU hours is told that it was never rehearsed.
UNREHEARSED_HOURS = 50


def require_affordable(line: Line, found: Mapping[str, Cost]) -> None:
    """Raise UserError when a line is estimated to take more than its limit or its budget.

    `confirm=true` takes the estimate for wrong; a budget that is spent stops it all the same.
    """
    hours, unknown = sum_left(found.values())
    if not hours and not unknown:
        return
    problems = above_limit(line, hours, unknown) + above_budget(line, hours, unknown)
    if problems:
        raise UserError(problems, CONFIG)


def unrehearsed(line: Line, found: Mapping[str, Cost]) -> str:
    """That a line takes many hours and was never rehearsed; empty where it does not or was."""
    hours, _ = sum_left(found.values())
    if line.rehearse or hours <= UNREHEARSED_HOURS:
        return ""
    if any(line.work.glob(f"{PREFIX}*/summary.json")):
        return ""
    return (
        f"about {shown(hours)} GPU hours that were never rehearsed: the same line with "
        "rehearse=true runs the whole chain small first, in a few"
    )


def above_limit(line: Line, hours: float, unknown: int) -> list[str]:
    """A line when an estimate is too much to be submitted without a word."""
    limit = line.launcher.max_gpu_hours
    if hours <= limit or line.confirm:
        return []
    return [
        f"max_gpu_hours={limit:g}: {told(hours, unknown)}; confirm=true submits them, "
        "max_gpu_hours=N raises the limit, stage= takes a part"
    ]


def above_budget(line: Line, hours: float, unknown: int) -> list[str]:
    """A line when a budget is spent, or an estimate that nobody confirmed goes beyond it."""
    budget = line.launcher.budget_gpu_hours
    if budget is None:
        return []
    spent = sum(hours_in(line.work, SlurmBackend().used).values())
    if spent < budget and (line.confirm or spent + hours <= budget):
        return []
    return [
        f"budget_gpu_hours={budget:g}: {shown(spent)} GPU hours are spent in {line.work}, and "
        f"{told(hours, unknown)}; budget_gpu_hours=N raises the budget, stage= takes a part"
        + ("" if spent >= budget else ", confirm=true submits as long as it lasts")
    ]


def told(hours: float, unknown: int) -> str:
    """What a line is estimated to take, in words."""
    least = "at least " if unknown else ""
    return f"these nodes take {least}about {shown(hours)} GPU hours (dry_run=true tells of each)"
