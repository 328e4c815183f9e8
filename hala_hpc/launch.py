"""Run a pipeline: `python -m hala_hpc.launch stage=translate recipe=hala launcher=slurm`.

Reads top to bottom: words -> recipe -> plan -> jobs.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import start_quickly

    start_quickly()

import sys
from collections.abc import Sequence

from hala_hpc.commands.arguments import asks_for_help
from hala_hpc.commands.command_line import Line, read_line, report_mistakes
from hala_hpc.commands.defaults import Choice, choose
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.commands.planning.work_folder import (
    make_work_folder,
    mend,
    repair,
    require_own_run,
    write_run,
)
from hala_hpc.core.errors import CONFIG, NO_INPUT, OK, UserError
from hala_hpc.core.hub import is_hub_off
from hala_hpc.core.lease import WorkLease, work_lease
from hala_hpc.core.overrides import split_words
from hala_hpc.core.recipe import with_inputs
from hala_hpc.core.run import run_file

#: Ends what is said of a scheduler that was not asked for.
NAME_ONE = (
    "nobody named SLURM, it is the default where sbatch is: launcher=local runs on this machine, "
    "recipe=demo is the demo"
)


def launch(arguments: Sequence[str]) -> int:
    """Do what a line asks for; return the exit code. Raises UserError for mistakes."""
    if not arguments or asks_for_help(arguments):
        from hala_hpc.commands.help import print_help

        print_help(arguments)
        return OK
    words = split_words(list(arguments))
    choice = choose(words)
    # At once, also into a file: a plan may take seconds, and somebody may have meant another. Not
    # into a page, which is kept.
    print(choice.told, flush=True, file=sys.stderr if words.get("format") else sys.stdout)
    line = read_line(arguments, choice)
    steps = make_plan(line.nodes, line.work, line.environment)
    chosen = {name: steps[name] for name in with_inputs(line.nodes, line.chosen)}
    missing = {name: step for name, step in chosen.items() if step.state != "done"}
    if missing and not line.dry_run:
        require_scheduler_unless_named(line, choice)
    check_before_jobs(line, missing)
    if line.dry_run:
        tell_plan(line, chosen)
        require_fit_environments(line, missing)
        return OK
    hours = estimate(line, chosen)
    check_with_scheduler(line, chosen)
    make_work_folder(line.work)
    require_own_run(line.work)
    with work_lease(line.work) as lease:
        mend(line.work, chosen)
        write_run(line, chosen, hours)
        for step in chosen.values():
            if not step.artifact.config_file.exists():
                step.artifact.write_config(step.config(hours.get(step.name)))
        if not missing:
            print(f"done: all {len(chosen)} nodes in {line.work}; nothing to submit")
            return OK
        repair(missing)
        return start(line, chosen, lease)


def require_scheduler_unless_named(line: Line, choice: Choice) -> None:
    """Raise UserError (69) where nobody named the launcher and SLURM is not there.

    Before other mistakes: on such a machine another launcher was meant.
    """
    if line.launcher.backend == "slurm" and "launcher" in choice.guessed:
        from hala_hpc.backends.slurm.backend import SlurmBackend

        require_slurm([f"{text}; {NAME_ONE}" for text in SlurmBackend().preflight()])


def check_before_jobs(line: Line, missing: dict[str, Step]) -> None:
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


def require_fit_environments(line: Line, missing: dict[str, Step]) -> None:
    """Raise UserError where jobs would not find in their environments what they calculate with."""
    from hala_hpc.commands.planning.environment_check import needs_of, unfit_environments

    if missing and (unfit := unfit_environments(line.launcher, needs_of(missing.values()))):
        raise UserError([one.told for one in unfit], CONFIG)


def tell_plan(line: Line, chosen: dict[str, Step]) -> None:
    """Print what a line would do: jobs, nodes and hours, or a page with the reckoning of each."""
    if line.markdown:
        from hala_hpc.commands.planning.plan_page import print_page

        print_page(line, chosen)
    else:
        from hala_hpc.commands.planning.dry_run import print_plan

        print_plan(line, chosen)


def check_with_scheduler(line: Line, chosen: dict[str, Step]) -> None:
    """Raise UserError when nothing can be submitted from here, or the scheduler would refuse it."""
    missing = [step for step in chosen.values() if step.state != "done"]
    if line.launcher.backend == "slurm" and missing:
        from hala_hpc.backends.slurm.backend import SlurmBackend
        from hala_hpc.commands.planning.run_slurm import require_accepted

        require_slurm(SlurmBackend().preflight())
        if not run_file(line.work).exists():
            heed_doctor(line, chosen)
        require_accepted(line, missing)


def heed_doctor(line: Line, chosen: dict[str, Step]) -> None:
    """Before the first submission: tell what the doctor doubts.

    Raises UserError for what would make the run fail.
    """
    from hala_hpc.doctor.examine import cheap_findings

    found = cheap_findings(line, chosen)
    for one in found:
        if one.state == "warn":
            print(f"warning: {one.told}", file=sys.stderr)
    if bad := [one for one in found if one.state == "bad"]:
        codes = {one.code for one in bad}
        # A controller that is away for a moment is no mistake of the set-up.
        raise UserError([one.told for one in bad], codes.pop() if len(codes) == 1 else CONFIG)


def require_fetched(line: Line, missing: dict[str, Step]) -> None:
    """Compute nodes work offline: what they read of the hub must be on the disk, and whole."""
    from hala_hpc.commands.planning.hub_pieces import fetch_line, pieces_of, site_of

    if not is_hub_off(line.environment, default=True):
        return
    broken = [piece.told for piece in pieces_of(missing.values(), site_of(line)) if piece.problems]
    if broken:
        cure = f"jobs work offline: fetch what they read first, with `{fetch_line(line.words)}`"
        raise UserError([*broken, cure], NO_INPUT)


def require_slurm(problems: list[str]) -> None:
    """Raise UserError when nothing can be submitted from here."""
    from hala_hpc.core.errors import UNAVAILABLE

    if problems:
        raise UserError(problems, UNAVAILABLE)


def estimate(line: Line, chosen: dict[str, Step]) -> dict[str, float | None]:
    """GPU hours that each node takes in all, where a scheduler counts them.

    Raises UserError when they are more than may be submitted without a word, and for nodes that
    need more memory than their jobs get.
    """
    from hala_hpc.commands.planning.memory_plan import estimates_of, require_room

    estimates = estimates_of(chosen, line.launcher)
    require_room(chosen, estimates)
    if line.launcher.backend == "local":
        return {}
    from hala_hpc.commands.planning.affordable import require_affordable
    from hala_hpc.commands.planning.cost import costs

    found = costs(chosen, estimates)
    require_affordable(line, found)
    return {name: cost.whole for name, cost in found.items()}


def start(line: Line, chosen: dict[str, Step], lease: WorkLease) -> int:
    """Run the missing nodes here, or submit them, each waiting for the gates of its inputs.

    With `render=` what would be submitted is written down.
    """
    if line.launcher.backend == "local":
        from hala_hpc.commands.planning.run_local import run_steps
    elif line.render:
        from hala_hpc.commands.planning.render import render_steps as run_steps
    else:
        from hala_hpc.commands.planning.run_slurm import submit_steps as run_steps
    return run_steps(line, chosen, lease)


def main() -> None:
    """Console script: run the line, print mistakes, exit with their code."""
    sys.exit(report_mistakes(launch, sys.argv[1:]))


if __name__ == "__main__":
    main()
