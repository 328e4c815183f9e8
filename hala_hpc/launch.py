"""Run a pipeline: `python -m hala_hpc.launch stage=translate recipe=hala launcher=slurm`.

Reads top to bottom: overrides -> recipe -> plan -> checks -> jobs.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import sys
from collections.abc import Sequence

from hala_hpc.commands.arguments import asks_for_help
from hala_hpc.commands.command_line import CommandLine, parse_command_line, run_command
from hala_hpc.commands.defaults import resolve_defaults
from hala_hpc.commands.planning.cleaned_steps import choose_steps
from hala_hpc.commands.planning.launch_checks import (
    check_before_jobs,
    check_gpu_hours,
    require_fit_environments,
    require_reachable,
    require_scheduler_unless_named,
)
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.commands.planning.sweep_passes import join_sweeps
from hala_hpc.commands.planning.work_folder import (
    make_work_folder,
    require_own_run,
    reset_damaged_nodes,
    set_aside_damaged_files,
    write_run,
)
from hala_hpc.core.errors import OK
from hala_hpc.core.lease import WorkLease, work_lease
from hala_hpc.core.overrides import parse_overrides
from hala_hpc.core.run import run_file
from hala_hpc.core.sharing import start_sharing


def launch(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code. Raises: UserError for mistakes."""
    if not arguments or asks_for_help(arguments):
        from hala_hpc.commands.help import print_help

        print_help(arguments)
        return OK
    overrides = parse_overrides(list(arguments))
    choice = resolve_defaults(overrides)
    # Printed at once, also into a file: planning may take seconds, and the user may have meant
    # another choice. Not into a page, which is kept.
    print(choice.message, flush=True, file=sys.stderr if overrides.get("format") else sys.stdout)
    line = parse_command_line(arguments, choice)
    start_sharing(line.launcher.share)
    steps = make_plan(line.nodes, line.work, line.environment)
    chosen = join_sweeps(choose_steps(line, steps))
    missing = {name: step for name, step in chosen.items() if step.state != "done"}
    if missing and not line.dry_run:
        require_scheduler_unless_named(line, choice)
    check_before_jobs(line, missing)
    if line.dry_run:
        print_dry_run(line, chosen)
        require_fit_environments(line, missing)
        return OK
    print_remakes(missing)
    hours = check_gpu_hours(line, chosen)
    if missing and line.launcher.backend == "slurm":
        check_with_scheduler(line, chosen)
    make_work_folder(line.work)
    require_own_run(line.work)
    print_tight_quotas(line)
    with work_lease(line.work) as lease:
        set_aside_damaged_files(line.work, chosen)
        write_run(line, chosen, hours)
        if not missing:
            print(f"done: all {len(chosen)} nodes in {line.work}; nothing to submit")
            return OK
        reset_damaged_nodes(missing)
        return start(line, chosen, lease)


def print_remakes(missing: dict[str, Step]) -> None:
    """Print which cleaned nodes are made again, what needs them, and what they took."""
    for name, step in missing.items():
        if step.state == "cleaned":
            print(f"{name} is made again: {step.reason}")


def print_tight_quotas(line: CommandLine) -> None:
    """Warn if little is left of a quota of the work folder: a run on a full disk stops."""
    from hala_hpc.core.quotas import describe_tight_quotas

    for text in describe_tight_quotas(line.work):
        print(f"warning: {text}", file=sys.stderr)


def print_dry_run(line: CommandLine, chosen: dict[str, Step]) -> None:
    """Print what a launch would do: jobs, nodes and hours, or a page with the breakdown of each."""
    if line.markdown:
        from hala_hpc.commands.planning.plan_page import print_plan_page

        print_plan_page(line, chosen)
    else:
        from hala_hpc.commands.planning.dry_run import print_plan

        print_plan(line, chosen)


def check_with_scheduler(line: CommandLine, chosen: dict[str, Step]) -> None:
    """Raise UserError if nothing can be submitted from here, or the scheduler would refuse it."""
    from hala_hpc.commands.planning.run_slurm import require_accepted

    require_reachable()
    if not run_file(line.work).exists():
        from hala_hpc.doctor.examine import check_before_submission

        check_before_submission(
            line, chosen, lambda doubt: print(f"warning: {doubt}", file=sys.stderr)
        )
    require_accepted(line, [step for step in chosen.values() if step.state != "done"])


def start(line: CommandLine, chosen: dict[str, Step], lease: WorkLease) -> int:
    """Run the missing nodes here, or submit them, each depending on the gates of its inputs.

    With `render=` the jobs are written to files instead; a rehearsal here ends with its page.
    """
    if line.rehearse and line.launcher.backend == "local":
        from hala_hpc.commands.rehearsing.rehearse_local import run_rehearsal_locally as run_steps
    elif line.launcher.backend == "local":
        from hala_hpc.commands.planning.run_local import run_plan_locally as run_steps
    elif line.render:
        from hala_hpc.commands.planning.render import render_steps as run_steps
    else:
        from hala_hpc.commands.planning.run_slurm import submit_steps as run_steps
    return run_steps(line, chosen, lease)


def main() -> None:
    """Console script: run the command, print mistakes, exit with their code."""
    sys.exit(run_command(launch, sys.argv[1:]))


if __name__ == "__main__":
    main()
