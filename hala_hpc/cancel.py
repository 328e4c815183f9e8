"""End the jobs of a run: `python -m hala_hpc.cancel work=runs/demo [node=arabic]`.

What is done stays done, and the line of the launch goes on from there. Gates end first, those of
the last nodes before others, so that none submits again what ends; then the workers that wait,
then those that run, which commit as when they are preempted. A run on this machine ends, too.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import start_quickly

    start_quickly()

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hala_hpc.commands.arguments import is_true, named_run, read_words
from hala_hpc.commands.command_line import report_mistakes
from hala_hpc.commands.monitoring.launch_process import LaunchProcess, launch_at
from hala_hpc.commands.monitoring.slurm_jobs import LivingJob, living_jobs
from hala_hpc.core.errors import OK, Retry, UserError
from hala_hpc.core.lease import work_lease
from hala_hpc.core.printable import printable
from hala_hpc.core.run import Run, RunNode, all_nodes, input_folders, read_run, work_folder
from hala_hpc.jobs.mending import mend_work_folder
from hala_hpc.jobs.waiting_list import forget

WORDS = {
    "work": "folder of a run (default: runs/<recipe>)",
    "recipe": "recipe whose run is meant, where work is not given",
    "node": "a node or a stage: only its jobs, and those of all nodes that wait for it",
    "dry_run": "true: tell what would end, and end nothing",
}
#: SLURM kills a job that does not end by itself after KillWait, 30 s unless a site sets another.
END_LIMIT_S = 180
#: Between two questions to the scheduler, in seconds: the first pause, and the longest.
PAUSES_S = (0.5, 5.0)


@dataclass(frozen=True)
class Aim:
    """What a line wants ended."""

    run: Run
    nodes: list[RunNode]
    """Inputs first."""
    launch: LaunchProcess | None
    jobs: list[LivingJob]


def cancel(arguments: Sequence[str]) -> int:
    """Do what a line asks for; return the exit code. Raises UserError for mistakes."""
    words = read_words(arguments, str(__doc__), WORDS)
    if words is None:
        return OK
    words = named_run(words, changes=True)
    dry_run, aim = is_true(words, "dry_run"), read_aim(words)
    if aim.launch is None and not aim.jobs:
        print(f"nothing to end: no launch and no job is at work in {aim.run.work}")
        return OK
    tell(aim)
    if dry_run:
        print("nothing was ended: this was a dry run")
        return OK
    if aim.launch is not None:
        aim.launch.end()
    # Nobody launches meanwhile.
    with work_lease(aim.run.work):
        for line in mend_work_folder(aim.run.work):
            print(printable(line))
        forget(aim.run.work, {node.artifact.folder.name for node in aim.nodes})
        end_jobs(aim.nodes)
    tell_what_stays(aim)
    return OK


def read_aim(words: dict[str, str]) -> Aim:
    """What there is to end now. Raises UserError when it cannot be ended from here."""
    run = read_run(work_folder(words))
    nodes = all_nodes(run)
    if "node" in words:
        nodes = with_waiting(nodes, run.meant_by(words["node"]))
    launch = launch_at(run.work)
    if launch is not None:
        launch.require_here()
        if "node" in words:
            raise UserError(
                f"node={words['node']}: process {launch.pid} works on this run now, and ends as a "
                "whole: leave the word out, or wait for it"
            )
    return Aim(run, nodes, launch, living_jobs(nodes))


def with_waiting(nodes: list[RunNode], first: list[RunNode]) -> list[RunNode]:
    """Some nodes and all that take something from them, directly or not."""
    wanted = {node.artifact.folder.name for node in first}
    inputs = {n.artifact.folder.name: input_folders(n.artifact.config()) for n in nodes}
    while more := {name for name in inputs.keys() - wanted if wanted.intersection(inputs[name])}:
        wanted |= more
    return [node for node in nodes if node.artifact.folder.name in wanted]


def tell(aim: Aim) -> None:
    """Say what ends, in the order in which it does."""
    if aim.launch is not None:
        print(f"process {aim.launch.pid} on {aim.launch.host}: the launch of this run")
    for job in in_order(aim.jobs):
        print(f"{job.node}: {'gate' if job.is_gate else 'workers'} {job.id}, {job.count()}")


def in_order(jobs: list[LivingJob]) -> list[LivingJob]:
    """Gates, workers that wait, workers that run; the newest first, as they wait for older ones."""
    return sorted(jobs, key=lambda job: (not job.is_gate, job.running > 0, -int(job.id)))


def end_jobs(nodes: list[RunNode]) -> None:
    """End the jobs of some nodes, gates first, also those that a dying gate still submits.

    Raises Retry when one is still there after `END_LIMIT_S`.
    """
    end_all(nodes, gates=True)
    end_all(nodes, gates=False)


def end_all(nodes: list[RunNode], gates: bool) -> None:
    """End the gates, or all jobs, and wait until SLURM has forgotten them."""
    from hala_hpc.backends.slurm.backend import SlurmBackend

    told: set[str] = set()
    until_s, pause_s = time.monotonic() + END_LIMIT_S, PAUSES_S[0]
    while left := [job for job in living_jobs(nodes) if job.is_gate or not gates]:
        new = [job.id for job in in_order(left) if job.id not in told]
        SlurmBackend().cancel(new)
        told.update(new)
        if time.monotonic() > until_s:
            ids = ", ".join(job.id for job in left)
            raise Retry(f"jobs {ids} were told to end and are not gone after {END_LIMIT_S} s")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSES_S[1])


def tell_what_stays(aim: Aim) -> None:
    """Say what ended, what is kept, and how to go on."""
    print(f"ended: {len(aim.jobs)} jobs" + (" and the launch" if aim.launch else ""))
    for node in aim.nodes:
        done = len(node.artifact.done_units())
        if done and node.artifact.summary() is None:
            print(f"{node.name}: {done} of {node.units} units are done and stay")
    print(f"go on with: {aim.run.line}")


def main() -> None:
    """Command line of cancel."""
    sys.exit(report_mistakes(cancel, sys.argv[1:]))


if __name__ == "__main__":
    main()
