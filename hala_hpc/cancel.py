"""Cancel the jobs of a run: `python -m hala_hpc.cancel work=runs/demo [node=arabic]`.

Finished units stay, and the launch command resumes from there. Gates end first, those of the last
nodes before others, so that none submits new jobs. Then pending workers end, then running ones,
which commit as on preemption. A launch on this machine ends, too.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hala_hpc.backends.slurm.client import cancel_command
from hala_hpc.commands.arguments import add_default_work, is_true, parse_arguments
from hala_hpc.commands.command_line import run_command
from hala_hpc.commands.monitoring.launch_process import LaunchProcess, find_launch_process
from hala_hpc.commands.monitoring.slurm_jobs import ActiveJob, find_active_jobs
from hala_hpc.core.errors import OK, UNAVAILABLE, TransientError, UserError
from hala_hpc.core.lease import work_lease
from hala_hpc.core.printable import escape_controls
from hala_hpc.core.run import Run, RunNode, all_nodes, input_folders, read_run, resolve_work_folder
from hala_hpc.core.sharing import user_name
from hala_hpc.jobs.quarantine import quarantine_run_files
from hala_hpc.jobs.waiting_list import remove_waiting

ARGUMENTS = {
    "work": "folder of a run (default: the one around this folder, else runs/<recipe>)",
    "recipe": "recipe of the run, if work is not given",
    "node": "a node or a stage: only its jobs, and those of all nodes that depend on it",
    "dry_run": "true: print what would be cancelled, and cancel nothing",
}
#: SLURM kills a job that does not end by itself after KillWait, 30 s unless a site sets another.
END_LIMIT_S = 180
#: Between two queries of the scheduler, in seconds: the first pause, and the longest.
PAUSES_S = (0.5, 5.0)


@dataclass(frozen=True)
class CancelPlan:
    """What a command ends."""

    run: Run
    nodes: list[RunNode]
    """Inputs first."""
    launch: LaunchProcess | None
    jobs: list[ActiveJob]


def cancel(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code. Raises: UserError for mistakes."""
    overrides = parse_arguments(arguments, str(__doc__), ARGUMENTS)
    if overrides is None:
        return OK
    overrides = add_default_work(overrides, changes=True)
    dry_run, plan = is_true(overrides, "dry_run"), make_cancel_plan(overrides)
    if plan.launch is None and not plan.jobs:
        print(f"nothing to cancel: no launch and no job is running in {plan.run.work}")
        return OK
    print_cancel_plan(plan)
    if dry_run:
        print("nothing was cancelled: this was a dry run")
        return OK
    if plan.launch is not None:
        plan.launch.end()
    # No launch may start meanwhile.
    with work_lease(plan.run.work):
        for line in quarantine_run_files(plan.run.work):
            print(escape_controls(line))
        remove_waiting(plan.run.work, {node.artifact.folder.name for node in plan.nodes})
        end_jobs(plan.nodes)
    print_remaining(plan)
    return OK


def make_cancel_plan(overrides: dict[str, str]) -> CancelPlan:
    """Find what there is to end now. Raises: UserError if it cannot be ended from here."""
    run = read_run(resolve_work_folder(overrides))
    nodes = all_nodes(run)
    if "node" in overrides:
        nodes = add_dependents(nodes, run.find_nodes(overrides["node"]))
    launch = find_launch_process(run.work)
    if launch is not None:
        launch.require_here()
        if "node" in overrides:
            raise UserError(
                f"node={overrides['node']}: process {launch.pid} is running this run, and ends as "
                "a whole: leave node= out, or wait for it"
            )
    jobs = find_active_jobs(nodes)
    require_own_jobs(nodes, jobs)
    return CancelPlan(run, nodes, launch, jobs)


def require_own_jobs(nodes: list[RunNode], jobs: list[ActiveJob]) -> None:
    """Refuse jobs of another member of the group. Raises: UserError (UNAVAILABLE)."""
    rounds = {node.name: node.artifact.newest_round_if_valid() for node in nodes}
    owners = {name: one.spec.user for name, one in rounds.items() if one and one.spec.user}
    own = user_name(os.geteuid())
    others = [job for job in jobs if owners.get(job.node, own) != own]
    if others and os.geteuid():
        who = ", ".join(sorted({owners[job.node] for job in others}))
        ids = [job.id for job in others]
        raise UserError(
            f"jobs {', '.join(ids)} belong to {who}, and SLURM lets only {who} or a coordinator of "
            f"the account cancel them: `{cancel_command(ids)}`; nothing was cancelled",
            UNAVAILABLE,
        )


def add_dependents(nodes: list[RunNode], first: list[RunNode]) -> list[RunNode]:
    """Some nodes and all nodes that read from them, directly or not."""
    wanted = {node.artifact.folder.name for node in first}
    inputs = {n.artifact.folder.name: input_folders(n.artifact.config()) for n in nodes}
    while more := {name for name in inputs.keys() - wanted if wanted.intersection(inputs[name])}:
        wanted |= more
    return [node for node in nodes if node.artifact.folder.name in wanted]


def print_cancel_plan(plan: CancelPlan) -> None:
    """Print what ends, in the order in which it does."""
    if plan.launch is not None:
        print(f"process {plan.launch.pid} on {plan.launch.host}: the launch of this run")
    for job in order_jobs(plan.jobs):
        print(f"{job.node}: {'gate' if job.is_gate else 'workers'} {job.id}, {job.count()}")


def order_jobs(jobs: list[ActiveJob]) -> list[ActiveJob]:
    """Gates, pending workers, running workers; the newest first, as they wait for older ones."""
    return sorted(jobs, key=lambda job: (not job.is_gate, job.running > 0, -int(job.id)))


def end_jobs(nodes: list[RunNode]) -> None:
    """End the jobs of some nodes, gates first, also those that an ending gate still submits.

    Raises: TransientError if one is still there after `END_LIMIT_S`.
    """
    end_all(nodes, gates=True)
    end_all(nodes, gates=False)


def end_all(nodes: list[RunNode], gates: bool) -> None:
    """End the gates, or all jobs, and wait until SLURM lists them no more."""
    from hala_hpc.backends.slurm.backend import SlurmBackend

    cancelled: set[str] = set()
    until_s, pause_s = time.monotonic() + END_LIMIT_S, PAUSES_S[0]
    while left := [job for job in find_active_jobs(nodes) if job.is_gate or not gates]:
        new = [job.id for job in order_jobs(left) if job.id not in cancelled]
        SlurmBackend().cancel(new)
        cancelled.update(new)
        if time.monotonic() > until_s:
            ids = ", ".join(job.id for job in left)
            raise TransientError(f"jobs {ids} were cancelled and still exist after {END_LIMIT_S} s")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSES_S[1])


def print_remaining(plan: CancelPlan) -> None:
    """Print what ended, what stays, and how to resume."""
    print(f"cancelled: {len(plan.jobs)} jobs" + (" and the launch" if plan.launch else ""))
    for node in plan.nodes:
        done = len(node.artifact.done_units())
        if done and node.artifact.summary() is None:
            print(f"{node.name}: {done} of {node.units} units are done and stay")
    print(f"resume with: {plan.run.launch_command}")


def main() -> None:
    """Command line of cancel."""
    sys.exit(run_command(cancel, sys.argv[1:]))


if __name__ == "__main__":
    main()
