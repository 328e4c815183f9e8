"""Run a pipeline: `python -m hala_hpc.launch stage=translate recipe=hala launcher=slurm`.

Reads top to bottom: words -> recipe -> plan -> jobs.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import start_quickly

    start_quickly()

import os
import sys
from collections.abc import Sequence

from hala_hpc.commands.arguments import asks_for_help
from hala_hpc.commands.command_line import Line, read_line, report_mistakes
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.commands.planning.work_folder import (
    make_work_folder,
    mend,
    repair,
    require_own_run,
    write_run,
)
from hala_hpc.core.errors import CONFIG, NO_INPUT, OK, UserError
from hala_hpc.core.hub import fetch_command, hub_cache, hub_words, is_hub_off, not_fetched
from hala_hpc.core.lease import WorkLease, work_lease
from hala_hpc.core.recipe import with_inputs
from hala_hpc.core.run import run_file


def launch(arguments: Sequence[str]) -> int:
    """Do what a line asks for; return the exit code. Raises UserError for mistakes."""
    if not arguments or asks_for_help(arguments):
        from hala_hpc.commands.help import print_help

        print_help(arguments)
        return OK
    line = read_line(arguments)
    steps = make_plan(line.nodes, line.work)
    chosen = {name: steps[name] for name in with_inputs(line.nodes, line.chosen)}
    missing = {name: step for name, step in chosen.items() if step.state != "done"}
    check_before_jobs(line, missing)
    if line.dry_run:
        from hala_hpc.commands.planning.dry_run import print_plan

        print_plan(line, chosen)
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
        require_fetched(line, missing)


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
    if bad := [one.told for one in found if one.state == "bad"]:
        raise UserError(bad, CONFIG)


def require_fetched(line: Line, missing: dict[str, Step]) -> None:
    """Compute nodes work offline: models and data sets of the hub must be on the disk."""
    environment = {**os.environ, **line.launcher.environment}
    words = not_fetched(hub_words(s.node.settings for s in missing.values()), environment)
    if words and is_hub_off(environment, default=True):
        raise UserError(
            [
                f"{name} is not in the hub cache {hub_cache(environment)}, and jobs work offline: "
                f"run `{fetch_command(kind, name)}`"
                for kind, name in words
            ],
            NO_INPUT,
        )


def require_slurm(problems: list[str]) -> None:
    """Raise UserError when nothing can be submitted from here."""
    from hala_hpc.core.errors import UNAVAILABLE

    if problems:
        raise UserError(problems, UNAVAILABLE)


def estimate(line: Line, chosen: dict[str, Step]) -> dict[str, float | None]:
    """GPU hours that each node takes in all, where a scheduler counts them.

    Raises UserError when they are more than may be submitted without a word.
    """
    if line.launcher.backend == "local":
        return {}
    from hala_hpc.commands.planning.affordable import require_affordable
    from hala_hpc.commands.planning.cost import costs

    found = costs(chosen, line.launcher.environment)
    require_affordable(line, found)
    return {name: cost.whole for name, cost in found.items()}


def start(line: Line, chosen: dict[str, Step], lease: WorkLease) -> int:
    """Run the missing nodes here, or submit them, each waiting for the gates of its inputs."""
    if line.launcher.backend == "local":
        from hala_hpc.commands.planning.run_local import run_steps
    else:
        from hala_hpc.commands.planning.run_slurm import submit_steps as run_steps
    return run_steps(line, chosen, lease)


def main() -> None:
    """Console script: run the line, print mistakes, exit with their code."""
    sys.exit(report_mistakes(launch, sys.argv[1:]))


if __name__ == "__main__":
    main()
