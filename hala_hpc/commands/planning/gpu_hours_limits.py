"""Check the estimated GPU hours of a launch against its limit and its budget."""

from collections.abc import Mapping

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning.cost import Cost, sum_left
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.estimate import format_hours
from hala_hpc.core.rehearsal import REHEARSAL_PREFIX
from hala_hpc.jobs.gpu_hours import measure_gpu_hours

#: A launch of more estimated GPU hours prints a warning if it was never rehearsed.
UNREHEARSED_HOURS = 50


def require_affordable(command_line: CommandLine, found: Mapping[str, Cost]) -> None:
    """Refuse a launch whose estimate exceeds its limit or its budget.

    `confirm=true` overrides the estimate, but not a budget that is spent. Raises: UserError
    (CONFIG).
    """
    hours, unknown = sum_left(found.values())
    if not hours and not unknown:
        return
    problems = above_limit(command_line, hours, unknown) + above_budget(
        command_line, hours, unknown
    )
    if problems:
        raise UserError(problems, CONFIG)


def describe_missing_rehearsal(command_line: CommandLine, found: Mapping[str, Cost]) -> str:
    """Warn about a launch of many hours that was never rehearsed; empty if it needs no warning."""
    hours, _ = sum_left(found.values())
    if command_line.rehearse or hours <= UNREHEARSED_HOURS:
        return ""
    if any(command_line.work.glob(f"{REHEARSAL_PREFIX}*/summary.json")):
        return ""
    return (
        f"about {format_hours(hours)} GPU hours that were never rehearsed: the same command with "
        "rehearse=true first runs the whole pipeline on few rows, in a few GPU hours"
    )


def above_limit(command_line: CommandLine, hours: float, unknown: int) -> list[str]:
    """A message if an estimate exceeds max_gpu_hours and is not confirmed."""
    limit = command_line.launcher.max_gpu_hours
    if hours <= limit or command_line.confirm:
        return []
    return [
        f"max_gpu_hours={limit:g}: {describe_gpu_hours(hours, unknown)}; confirm=true submits "
        "them, max_gpu_hours=N raises the limit, stage= selects a part"
    ]


def above_budget(command_line: CommandLine, hours: float, unknown: int) -> list[str]:
    """A message if a budget is spent, or an unconfirmed estimate exceeds it."""
    budget = command_line.launcher.budget_gpu_hours
    if budget is None:
        return []
    spent = sum(measure_gpu_hours(command_line.work, SlurmBackend().query_usage).values())
    if spent < budget and (command_line.confirm or spent + hours <= budget):
        return []
    return [
        f"budget_gpu_hours={budget:g}: {format_hours(spent)} GPU hours are spent in "
        f"{command_line.work}, and {describe_gpu_hours(hours, unknown)}; budget_gpu_hours=N raises "
        "the budget, stage= selects a part"
        + ("" if spent >= budget else ", confirm=true submits until the budget is spent")
    ]


def describe_gpu_hours(hours: float, unknown: int) -> str:
    """Format the estimate of a launch."""
    bound = "at least " if unknown else ""
    return (
        f"these nodes take {bound}about {format_hours(hours)} GPU hours (dry_run=true prints "
        "the hours of each)"
    )
