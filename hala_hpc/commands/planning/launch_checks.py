"""What a launch is refused for before anything is written or submitted, each check a function.

None of them asks a network. What a dry run does not need is imported where it is used.
"""

import sys
from collections.abc import Mapping

from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.defaults import ResolvedDefaults
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import CONFIG, NO_INPUT, UNAVAILABLE, UserError
from hala_hpc.core.hub import is_hub_offline

#: Ends what is said of a scheduler that was not asked for.
DEFAULT_LAUNCHER_HINT = (
    "nobody named SLURM, it is the default where sbatch is: launcher=local runs on this machine, "
    "recipe=demo is the demo"
)


def require_scheduler_unless_named(command_line: CommandLine, defaults: ResolvedDefaults) -> None:
    """Raise UserError (69) where nobody named the launcher and SLURM is not there.

    Before other mistakes: on such a machine another launcher was meant.
    """
    if command_line.launcher.backend == "slurm" and "launcher" in defaults.guessed:
        from hala_hpc.backends.slurm.backend import SlurmBackend

        require_slurm([f"{text}; {DEFAULT_LAUNCHER_HINT}" for text in SlurmBackend().preflight()])


def check_before_jobs(command_line: CommandLine, missing: Mapping[str, Step]) -> None:
    """Everything that can be found wrong before a GPU is asked for, all at once."""
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
    """Raise UserError where jobs would not find in their environments what they calculate with."""
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
    """Compute nodes work offline: what they read of the hub must be on the disk, and whole."""
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
        fix = f"jobs work offline: fetch what they read first, with `{format_fetch_command(command_line.overrides)}`"
        raise UserError([*broken, fix], NO_INPUT)


def require_reachable() -> None:
    """Raise UserError (69) when nothing can be submitted from here."""
    from hala_hpc.backends.slurm.backend import SlurmBackend

    require_slurm(SlurmBackend().preflight())


def require_slurm(problems: list[str]) -> None:
    """Raise UserError (69) for what SLURM's commands lack here."""
    if problems:
        raise UserError(problems, UNAVAILABLE)


def check_gpu_hours(
    command_line: CommandLine, chosen: Mapping[str, Step]
) -> dict[str, float | None]:
    """GPU hours that each node takes in all, where a scheduler counts them.

    Raises UserError when they are more than may be submitted without a word, and for nodes that
    need more memory than their jobs get.
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
    return {name: cost.whole for name, cost in found.items()}
