"""Run all checks of the doctor in order, and those that a launch runs before it submits."""

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
from hala_hpc.doctor.languages import language_findings
from hala_hpc.doctor.memory import memory_findings
from hala_hpc.doctor.scope import DoctorScope, group_jobs


def examine_scope(scope: DoctorScope, notify: Callable[[str], None]) -> Iterator[Finding]:
    """Yield all findings, cheap checks first; `notify` gets messages about waiting."""
    yield from local_findings(scope)
    yield from environment_findings(scope.launcher, scope.needs())
    if scope.steps is not None:
        yield from input_findings(scope.steps.values(), scope.site, scope.fetch)
        yield from memory_findings(scope.steps, scope.launcher)
        yield from language_findings(scope.steps.values())
    if scope.launcher.backend == "slurm":
        from hala_hpc.doctor.cluster import slurm_findings

        yield from slurm_findings(scope, ask_each=True)
        if scope.job:
            from hala_hpc.doctor.on_node import node_findings

            yield from node_findings(scope, group_jobs(scope.jobs()), notify)
    else:
        what = f"launcher {scope.launcher.name}: workers run on this machine, one after the other"
        yield Finding("cluster", "good", what, "no scheduler is needed")


def cheap_findings(line: CommandLine, steps: dict[str, Step]) -> list[Finding]:
    """Checks before the first submission, within seconds: folders, disk space, limits.

    `steps`: the chosen nodes, including finished ones. The launch itself checks environments,
    inputs and each kind of job with `--test-only`.
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
    """Run the cheap checks before the first submission; `warn` gets the warnings.

    Raises: UserError with the errors that would make the run fail; its code is theirs if they
    agree, else CONFIG.
    """
    found = cheap_findings(line, steps)
    for one in found:
        if one.state == "warn":
            warn(one.message)
    if errors := [one for one in found if one.state == "error"]:
        codes = {one.code for one in errors}
        # A controller that is down for a moment is not a mistake of the set-up.
        raise UserError([one.message for one in errors], codes.pop() if len(codes) == 1 else CONFIG)


def local_findings(scope: DoctorScope) -> Iterator[Finding]:
    """Findings about folders and disk space, as this machine sees them."""
    yield from folder_findings("work", scope.work, on_one=scope.launcher.backend == "local")
    need = None
    if scope.steps is not None:
        need = estimate_disk(scope.steps, scope.environment)
    yield from space_findings(nearest_existing(scope.work), need)
    for name, folder in launcher_folders(scope.launcher.environment).items():
        yield from folder_findings(name, folder, name not in READ_ONLY)
