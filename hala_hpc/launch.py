"""Run a pipeline: `python -m hala_hpc.launch stage=translate recipe=hala launcher=slurm`.

Reads top to bottom: words -> recipe -> plan -> checks -> jobs.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import start_quickly

    start_quickly()

import sys
from collections.abc import Sequence

from hala_hpc.commands.arguments import asks_for_help
from hala_hpc.commands.command_line import Line, read_line, report_mistakes
from hala_hpc.commands.defaults import choose
from hala_hpc.commands.planning.launch_checks import (
    affordable_hours,
    check_before_jobs,
    require_fit_environments,
    require_reachable,
    require_scheduler_unless_named,
)
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.commands.planning.work_folder import (
    make_work_folder,
    mend,
    repair,
    require_own_run,
    write_run,
)
from hala_hpc.core.errors import OK
from hala_hpc.core.lease import WorkLease, work_lease
from hala_hpc.core.overrides import split_words
from hala_hpc.core.recipe import with_inputs
from hala_hpc.core.run import run_file


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
    hours = affordable_hours(line, chosen)
    if missing and line.launcher.backend == "slurm":
        check_with_scheduler(line, chosen)
    make_work_folder(line.work)
    require_own_run(line.work)
    with work_lease(line.work) as lease:
        mend(line.work, chosen)
        write_run(line, chosen, hours)
        if not missing:
            print(f"done: all {len(chosen)} nodes in {line.work}; nothing to submit")
            return OK
        repair(missing)
        return start(line, chosen, lease)


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
    from hala_hpc.commands.planning.run_slurm import require_accepted

    require_reachable()
    if not run_file(line.work).exists():
        from hala_hpc.doctor.examine import heed

        heed(line, chosen, lambda doubt: print(f"warning: {doubt}", file=sys.stderr))
    require_accepted(line, [step for step in chosen.values() if step.state != "done"])


def start(line: Line, chosen: dict[str, Step], lease: WorkLease) -> int:
    """Run the missing nodes here, or submit them, each waiting for the gates of its inputs.

    With `render=` what would be submitted is written down; a rehearsal here ends with its page.
    """
    if line.rehearse and line.launcher.backend == "local":
        from hala_hpc.commands.rehearsing.rehearse_local import run_steps
    elif line.launcher.backend == "local":
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
