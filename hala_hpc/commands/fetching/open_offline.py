"""The child process of a fetch that has no network: opens what nodes read, and reports.

`python -m hala_hpc.commands.fetching.open_offline <report> <overrides>...`
"""

if __name__ == "__main__":
    # Before the imports below: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.fetching.offline_check import OfflineReport
from hala_hpc.commands.planning.cleaned_steps import choose_steps
from hala_hpc.commands.planning.hub_dependencies import (
    DEPENDENCY_KINDS,
    find_required_repositories,
    inspect_repository,
)
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.core.environment import set_job_environment
from hala_hpc.core.errors import OK, UserError
from hala_hpc.engines.models.kernels import open_kernel
from hala_hpc.engines.models.open_offline import opening_fault


def open_all(steps: Sequence[Step]) -> OfflineReport:
    """Open what some nodes read, with the functions that their jobs use.

    Repositories with problems in names or sizes are skipped: that check reports more.
    """
    opened: list[str] = []
    mistakes: list[str] = []
    for wanted in find_required_repositories(steps, sys.executable):
        description = f"{DEPENDENCY_KINDS[wanted.kind]} {wanted.reference}"
        faults = []
        if inspect_repository(wanted, os.environ).problems:
            continue
        if wanted.kind == "models":
            faults = opening_fault(wanted.reference, wanted.reads_weights)
        elif wanted.kind == "kernels":
            faults = open_kernel(wanted.reference)
        mistakes += faults
        opened += [] if faults else [description]
    for step in steps:
        try:
            faults = step.stage().open_offline()
        except UserError as error:
            faults = error.mistakes
        mistakes += [f"{step.name}: {fault}" for fault in faults]
    return OfflineReport(opened=tuple(opened), mistakes=tuple(mistakes))


def main(arguments: Sequence[str]) -> int:
    """Write the report of a command line."""
    report, *overrides = arguments
    set_job_environment()
    command_line = parse_command_line(overrides)
    steps = make_plan(command_line.nodes, command_line.work, os.environ)
    chosen = choose_steps(command_line, steps).values()
    missing = [step for step in chosen if step.state != "done"]
    open_all(missing).write(Path(report))
    return OK


if __name__ == "__main__":
    # os._exit: libraries leave threads running.
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
