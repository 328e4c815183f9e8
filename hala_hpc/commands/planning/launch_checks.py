"""What a launch is refused for before anything is written or submitted, each check a function.

None of them asks a network. What a dry run does not need is imported where it is used.
"""

import sys
from collections.abc import Mapping

from hala_hpc.commands.command_line import Line
from hala_hpc.commands.defaults import Choice
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import CONFIG, NO_INPUT, UNAVAILABLE, UserError
from hala_hpc.core.hub import is_hub_off

#: Ends what is said of a scheduler that was not asked for.
NAME_ONE = (
    "nobody named SLURM, it is the default where sbatch is: launcher=local runs on this machine, "
    "recipe=demo is the demo"
)


def require_scheduler_unless_named(line: Line, choice: Choice) -> None:
    """Raise UserError (69) where nobody named the launcher and SLURM is not there.

    Before other mistakes: on such a machine another launcher was meant.
    """
    if line.launcher.backend == "slurm" and "launcher" in choice.guessed:
        from hala_hpc.backends.slurm.backend import SlurmBackend

        require_slurm([f"{text}; {NAME_ONE}" for text in SlurmBackend().preflight()])


def check_before_jobs(line: Line, missing: Mapping[str, Step]) -> None:
    """Everything that can be found wrong before a GPU is asked for, all at once."""
    problems: list[str] = []
    code = CONFIG
    for step in missing.values():
        try:
            step.require_whole_paths()
            problems += [f"{step.name}: {text}" for text in step.stage().preflight()]
        except UserError as error:
            problems += [f"{step.name}: {text}" for text in error.mistakes]
            code = error.code
    if not line.dry_run and missing:
        problems += line.launcher.python_problems(
            {step.node.stage.env for step in missing.values()} | {"main"}
        )
    if problems:
        raise UserError(problems, code)
    if not line.dry_run:
        require_fit_environments(line, missing)
        require_fetched(line, missing)


def require_fit_environments(line: Line, missing: Mapping[str, Step]) -> None:
    """Raise UserError where jobs would not find in their environments what they calculate with."""
    from hala_hpc.commands.planning.environment_check import needs_of, unfit_environments

    if missing and (unfit := unfit_environments(line.launcher, needs_of(missing.values()))):
        raise UserError([one.told for one in unfit], CONFIG)


def require_fetched(line: Line, missing: Mapping[str, Step]) -> None:
    """Compute nodes work offline: what they read of the hub must be on the disk, and whole."""
    from hala_hpc.commands.planning.hub_pieces import fetch_line, pieces_of, site_of

    if not is_hub_off(line.environment, default=True):
        return
    broken = [piece.told for piece in pieces_of(missing.values(), site_of(line)) if piece.problems]
    if broken:
        cure = f"jobs work offline: fetch what they read first, with `{fetch_line(line.words)}`"
        raise UserError([*broken, cure], NO_INPUT)


def require_reachable() -> None:
    """Raise UserError (69) when nothing can be submitted from here."""
    from hala_hpc.backends.slurm.backend import SlurmBackend

    require_slurm(SlurmBackend().preflight())


def require_slurm(problems: list[str]) -> None:
    """Raise UserError (69) for what SLURM's commands lack here."""
    if problems:
        raise UserError(problems, UNAVAILABLE)


def affordable_hours(line: Line, chosen: Mapping[str, Step]) -> dict[str, float | None]:
    """GPU hours that each node takes in all, where a scheduler counts them.

    Raises UserError when they are more than may be submitted without a word, and for nodes that
    need more memory than their jobs get.
    """
    from hala_hpc.commands.planning.memory_plan import estimates_of, require_room

    estimates = estimates_of(chosen, line.launcher)
    require_room(chosen, estimates)
    if line.launcher.backend == "local":
        return {}
    from hala_hpc.commands.planning.affordable import require_affordable, unrehearsed
    from hala_hpc.commands.planning.cost import costs

    found = costs(chosen, estimates)
    require_affordable(line, found)
    if told := unrehearsed(line, found):
        print(f"warning: {told}", file=sys.stderr)
    return {name: cost.whole for name, cost in found.items()}
