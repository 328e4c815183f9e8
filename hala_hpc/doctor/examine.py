"""All questions of the doctor in their order, and those that a launch asks before it submits."""

from collections.abc import Callable, Iterator

from hala_hpc.commands.command_line import Line
from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.planning.plan_estimate import estimate_disk
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.doctor.environments import environment_findings
from hala_hpc.doctor.findings import Finding
from hala_hpc.doctor.folders import (
    READ_ONLY,
    folder_findings,
    launcher_folders,
    nearest,
    space_findings,
)
from hala_hpc.doctor.inputs import input_findings
from hala_hpc.doctor.memory import memory_findings
from hala_hpc.doctor.scope import Visit, kinds_of


def findings(visit: Visit, tell: Callable[[str], None]) -> Iterator[Finding]:
    """Everything that the doctor finds, the cheap first; `tell` says what is waited for."""
    yield from local_findings(visit)
    yield from environment_findings(visit.launcher, visit.needs())
    if visit.steps is not None:
        yield from input_findings(visit.steps.values(), visit.site, visit.fetch)
        yield from memory_findings(visit.steps, visit.launcher)
    if visit.launcher.backend == "slurm":
        from hala_hpc.doctor.cluster import slurm_findings

        yield from slurm_findings(visit, ask_each=True)
        if visit.job:
            from hala_hpc.doctor.on_node import node_findings

            yield from node_findings(visit, kinds_of(visit.jobs()), tell)
    else:
        what = f"launcher {visit.launcher.name}: workers run on this machine, one after the other"
        yield Finding("cluster", "good", what, "no scheduler is asked for anything")


def cheap_findings(line: Line, steps: dict[str, Step]) -> list[Finding]:
    """What the launcher looks at before the first real submit: folders, space, limits; seconds.

    `steps`: the chosen nodes, those that are done among them. Environments, inputs and what SLURM
    says to each kind of job the launcher asks itself.
    """
    visit = Visit(line.launcher, line.work, steps)
    found = list(local_findings(visit))
    if line.launcher.backend == "slurm":
        from hala_hpc.doctor.cluster import slurm_findings

        found += slurm_findings(visit, ask_each=False)
    return found


def heed(line: Line, steps: dict[str, Step], warn: Callable[[str], None]) -> None:
    """Before the first submission: `warn` of what the doctor doubts.

    Raises UserError for what would make the run fail.
    """
    found = cheap_findings(line, steps)
    for one in found:
        if one.state == "warn":
            warn(one.told)
    if bad := [one for one in found if one.state == "bad"]:
        codes = {one.code for one in bad}
        # A controller that is away for a moment is no mistake of the set-up.
        raise UserError([one.told for one in bad], codes.pop() if len(codes) == 1 else CONFIG)


def local_findings(visit: Visit) -> Iterator[Finding]:
    """Folders and room on the disk, as this machine sees them."""
    yield from folder_findings("work", visit.work, on_one=visit.launcher.backend == "local")
    need = None
    if visit.steps is not None:
        need = estimate_disk(visit.steps, visit.environment)
    yield from space_findings(nearest(visit.work), need)
    for name, folder in launcher_folders(visit.launcher.environment).items():
        yield from folder_findings(name, folder, name not in READ_ONLY)
