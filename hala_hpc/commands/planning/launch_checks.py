"""Checks that refuse a launch before anything is written or submitted, one function each.

None of them uses a network. What a dry run does not need is imported inside the functions.
"""

import sys
from collections.abc import Mapping

from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.defaults import ResolvedDefaults
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import CONFIG, NO_INPUT, UNAVAILABLE, UserError
from hala_hpc.core.hub import is_hub_offline

#: Appended to messages about a scheduler that was chosen by default.
DEFAULT_LAUNCHER_HINT = (
    "SLURM was not named; it is the default if sbatch is on the PATH: launcher=local runs on this "
    "machine, recipe=demo is the demo"
)


def require_scheduler_unless_named(command_line: CommandLine, defaults: ResolvedDefaults) -> None:
    """Refuse if the launcher is SLURM by default and SLURM is not available.

    Checked before other mistakes: on such a machine another launcher was meant. Raises: UserError
    (UNAVAILABLE).
    """
    if command_line.launcher.backend == "slurm" and "launcher" in defaults.guessed:
        from hala_hpc.backends.slurm.backend import SlurmBackend

        require_slurm([f"{text}; {DEFAULT_LAUNCHER_HINT}" for text in SlurmBackend().preflight()])


def check_before_jobs(command_line: CommandLine, missing: Mapping[str, Step]) -> None:
    """Run all checks that need no GPU, and report their problems together."""
    problems: list[str] = []
    code = CONFIG
    for step in missing.values():
        try:
            step.require_complete_inputs()
            problems += [f"{step.name}: {text}" for text in step.stage().preflight()]
        except UserError as error:
            problems += [f"{step.name}: {text}" for text in error.mistakes]
            code = error.code
    if not command_line.dry_run and missing:
        problems += command_line.launcher.python_problems(
            {step.node.stage.env for step in missing.values()} | {"main"}
        )
    if problems:
        raise UserError(problems, code)
    if not command_line.dry_run:
        require_fit_environments(command_line, missing)
        require_fetched(command_line, missing)


def require_fit_environments(command_line: CommandLine, missing: Mapping[str, Step]) -> None:
    """Refuse environments that lack what their jobs compute with. Raises: UserError (CONFIG)."""
    from hala_hpc.commands.planning.environment_check import (
        collect_environment_needs,
        find_unfit_environments,
    )

    if missing and (
        unfit := find_unfit_environments(
            command_line.launcher, collect_environment_needs(missing.values())
        )
    ):
        raise UserError([one.message for one in unfit], CONFIG)


def require_fetched(command_line: CommandLine, missing: Mapping[str, Step]) -> None:
    """Refuse if something that jobs read from the hub is missing or incomplete.

    Compute nodes work offline. Raises: UserError (NO_INPUT).
    """
    from hala_hpc.commands.planning.hub_dependencies import (
        find_hub_dependencies,
        format_fetch_command,
        make_hub_site,
    )

    if not is_hub_offline(command_line.environment, default=True):
        return
    broken = [
        dependency.message
        for dependency in find_hub_dependencies(missing.values(), make_hub_site(command_line))
        if dependency.problems
    ]
    if broken:
        fix = (
            "jobs work offline: first fetch what they read, with "
            f"`{format_fetch_command(command_line.overrides)}`"
        )
        raise UserError([*broken, fix], NO_INPUT)


def require_reachable() -> None:
    """Raises: UserError (UNAVAILABLE) if nothing can be submitted from here."""
    from hala_hpc.backends.slurm.backend import SlurmBackend

    require_slurm(SlurmBackend().preflight())


def require_slurm(problems: list[str]) -> None:
    """Raises: UserError (UNAVAILABLE) for each problem with SLURM's commands here."""
    if problems:
        raise UserError(problems, UNAVAILABLE)


def check_gpu_hours(
    command_line: CommandLine, chosen: Mapping[str, Step]
) -> dict[str, float | None]:
    """Check memory and GPU hours; return the total GPU hours of each node.

    Empty without a scheduler, which counts the hours. Raises: UserError (CONFIG) if the hours
    exceed a limit without confirm=true, or if nodes need more memory than their jobs get.
    """
    from hala_hpc.commands.planning.memory_plan import estimate_nodes, require_enough_memory

    estimates = estimate_nodes(chosen, command_line.launcher)
    require_enough_memory(chosen, estimates)
    if command_line.launcher.backend == "local":
        return {}
    from hala_hpc.commands.planning.cost import estimate_costs
    from hala_hpc.commands.planning.gpu_hours_limits import (
        describe_missing_rehearsal,
        require_affordable,
    )

    found = estimate_costs(chosen, estimates)
    require_affordable(command_line, found)
    if message := describe_missing_rehearsal(command_line, found):
        print(f"warning: {message}", file=sys.stderr)
    return {name: cost.total for name, cost in found.items()}
