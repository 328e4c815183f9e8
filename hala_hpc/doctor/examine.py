"""All questions of the doctor in their order, and those that a launch asks before it submits."""

from collections.abc import Callable, Iterator

from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.planning.plan_estimate import estimate_disk
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.doctor.environments import environment_findings
from hala_hpc.doctor.findings import Finding
from hala_hpc.doctor.folders import (
    READ_ONLY,
    folder_findings,
    launcher_folders,
    nearest_existing,
    space_findings,
)
from hala_hpc.doctor.inputs import input_findings
from hala_hpc.doctor.memory import memory_findings
from hala_hpc.doctor.scope import DoctorScope, group_jobs


def examine_scope(scope: DoctorScope, notify: Callable[[str], None]) -> Iterator[Finding]:
    """Everything that the doctor finds, the cheap first; `tell` says what is waited for."""
    yield from local_findings(scope)
    yield from environment_findings(scope.launcher, scope.needs())
    if scope.steps is not None:
        yield from input_findings(scope.steps.values(), scope.site, scope.fetch)
        yield from memory_findings(scope.steps, scope.launcher)
    if scope.launcher.backend == "slurm":
        from hala_hpc.doctor.cluster import slurm_findings

        yield from slurm_findings(scope, ask_each=True)
        if scope.job:
            from hala_hpc.doctor.on_node import node_findings

            yield from node_findings(scope, group_jobs(scope.jobs()), notify)
    else:
        what = f"launcher {scope.launcher.name}: workers run on this machine, one after the other"
        yield Finding("cluster", "good", what, "no scheduler is asked for anything")


def cheap_findings(line: CommandLine, steps: dict[str, Step]) -> list[Finding]:
    """What the launcher looks at before the first real submit: folders, space, limits; seconds.

    `steps`: the chosen nodes, those that are done among them. Environments, inputs and what SLURM
    says to each kind of job the launcher asks itself.
    """
    scope = DoctorScope(line.launcher, line.work, steps)
    found = list(local_findings(scope))
    if line.launcher.backend == "slurm":
        from hala_hpc.doctor.cluster import slurm_findings

        found += slurm_findings(scope, ask_each=False)
    return found


def check_before_submission(
    line: CommandLine, steps: dict[str, Step], warn: Callable[[str], None]
) -> None:
    """Before the first submission: `warn` of what the doctor doubts.

    Raises UserError for what would make the run fail.
    """
    found = cheap_findings(line, steps)
    for one in found:
        if one.state == "warn":
            warn(one.message)
    if bad := [one for one in found if one.state == "bad"]:
        codes = {one.code for one in bad}
        # A controller that is away for a moment is no mistake of the set-up.
        raise UserError([one.message for one in bad], codes.pop() if len(codes) == 1 else CONFIG)


def local_findings(scope: DoctorScope) -> Iterator[Finding]:
    """Folders and room on the disk, as this machine sees them."""
    yield from folder_findings("work", scope.work, on_one=scope.launcher.backend == "local")
    need = None
    if scope.steps is not None:
        need = estimate_disk(scope.steps, scope.environment)
    yield from space_findings(nearest_existing(scope.work), need)
    for name, folder in launcher_folders(scope.launcher.environment).items():
        yield from folder_findings(name, folder, name not in READ_ONLY)
