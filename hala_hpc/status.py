"""Show how far a run is: `python -m hala_hpc.status work=runs/demo [format=html] [follow=true]`."""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import contextlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hala_hpc.commands.arguments import add_default_work, is_true, parse_arguments
from hala_hpc.commands.command_line import parse_command_line, run_command
from hala_hpc.commands.monitoring.launch_process import find_launch_process
from hala_hpc.commands.monitoring.node_status import (
    NodeStatus,
    list_unfinished_job_ids,
    node_status,
)
from hala_hpc.commands.monitoring.slurm_jobs import SchedulerPoller
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.core.errors import OK, RETRY, UserError
from hala_hpc.core.printable import format_command
from hala_hpc.core.records import RunRecord
from hala_hpc.core.run import RunNode, read_run, resolve_work_folder, run_file
from hala_hpc.jobs.gpu_hours import measure_gpu_hours
from hala_hpc.jobs.spec import is_of_newest_jobs

ARGUMENTS = {
    "work": "folder of a run (default: the one around this folder, else runs/<recipe>)",
    "recipe": "recipe of the run, if work is not given",
    "format": "text, json, or html, which writes the page of the run (default: text)",
    "follow": "true: show it every few seconds until all is done or nothing is running",
}
#: What `format` may be.
FORMATS = ("text", "json", "html")
#: Between two reads of the disk on a terminal, in seconds.
SCREEN_PAUSE_S = 5
#: Clear the screen and go to its first line.
CLEAR = "\x1b[2J\x1b[H"


@dataclass(frozen=True)
class Budget:
    """GPU hours that all results of a folder may take."""

    gpu_hours: float
    spent: float
    left: float


@dataclass(frozen=True)
class RunStatus:
    """The state of a work folder at one time."""

    nodes: list[NodeStatus]
    budget: Budget | None
    """None if no budget was given."""


def status(arguments: Sequence[str]) -> int:
    """Print the state of every node of a run."""
    overrides = parse_arguments(arguments, str(__doc__), ARGUMENTS)
    if overrides is None:
        return OK
    overrides = add_default_work(overrides)
    if overrides.get("format", "text") not in FORMATS:
        raise UserError(f"format={overrides['format']}: write {', '.join(FORMATS)}")
    poller = SchedulerPoller()
    if is_true(overrides, "follow"):
        # Ctrl-C ends the watching, nothing else.
        with contextlib.suppress(KeyboardInterrupt):
            return follow(overrides, poller)
        return OK
    show(read_status(overrides, poller), overrides, poller)
    return OK


def show(run: RunStatus, overrides: dict[str, str], poller: SchedulerPoller) -> None:
    """Print a table or one line of JSON, and warn of what may make it wrong."""
    nodes = run.nodes
    if overrides.get("format") == "json":
        budget = {"budget": asdict(run.budget)} if run.budget else {}
        document = {"nodes": [node.to_values() for node in nodes], **budget}
        print(json.dumps(document, ensure_ascii=False))
    elif overrides.get("format") == "html":
        from hala_hpc.commands.monitoring.status_page import write_status_page

        work = resolve_work_folder(overrides)
        print(f"page: {write_status_page(work, nodes_of(overrides)[0], nodes)}")
    else:
        from hala_hpc.commands.monitoring.status_table import print_status_table

        print_status_table(nodes)
        if run.budget:
            whole = run.budget.gpu_hours
            print(f"{run.budget.spent:.2f} of budget_gpu_hours={whole:g} are spent")
        if any(node.state == "failed" for node in nodes):
            line = format_command("logs", f"work={resolve_work_folder(overrides)}")
            print(f"the log of the first failure: {line}")
        elif (
            "recipe" not in overrides
            and is_idle(nodes, poller)
            and not find_launch_process(resolve_work_folder(overrides))
        ):
            command = read_run(resolve_work_folder(overrides)).launch_command
            print(f"nothing is running; resume with: {command}")
    sys.stdout.flush()
    if poller.problem:
        print(poller.problem, file=sys.stderr)


def is_idle(nodes: list[NodeStatus], poller: SchedulerPoller) -> bool:
    """Whether no job runs for unfinished nodes; never if the scheduler does not answer."""
    states = {node.state for node in nodes}
    return not poller.problem and not states & {"running", "waiting"} and states != {"done"}


def budget_of(work: Path, spent: float) -> Budget | None:
    """The budget of a folder and what all its results have spent; None without a budget."""
    run = RunRecord.read(run_file(work))
    whole = run.budget_gpu_hours if run else None
    return None if whole is None else Budget(whole, spent, max(0.0, whole - spent))


def follow(overrides: dict[str, str], poller: SchedulerPoller) -> int:
    """Show the status repeatedly: in place on a terminal, else one below the other.

    Returns 0 when all is done, the code of a node that failed, or 75 when nothing is running.
    """
    in_place = sys.stdout.isatty() and overrides.get("format") != "json"
    idle_polls = 0
    while True:
        run = read_status(overrides, poller)
        nodes = run.nodes
        if overrides.get("format") != "json":
            print(f"{CLEAR if in_place else ''}{time.strftime('%F %T')}\n")
        show(run, overrides, poller)
        # Without an answer of the scheduler it is unknown whether jobs are pending.
        is_active = poller.problem or any(node.state in ("running", "waiting") for node in nodes)
        if all(node.state == "done" for node in nodes):
            return OK
        # A launch on this machine may be between two nodes for a moment, or submitting.
        idle_polls = (
            0
            if is_active or find_launch_process(resolve_work_folder(overrides))
            else idle_polls + 1
        )
        if idle_polls > 1:
            return code_of_failure(overrides)
        time.sleep(SCREEN_PAUSE_S if in_place or idle_polls else poller.pause_s)


def code_of_failure(overrides: dict[str, str]) -> int:
    """The code of the first node that failed, else 75."""
    print(f"nothing is running in {resolve_work_folder(overrides)}", file=sys.stderr)
    failures = (node.artifact.failure() for node in nodes_of(overrides)[0])
    return next((failure.code for failure in failures if failure), RETRY)


def read_status(overrides: dict[str, str], poller: SchedulerPoller) -> RunStatus:
    """Status of the newest launch in a work folder, or with `recipe=` of that recipe's nodes."""
    work = resolve_work_folder(overrides)
    nodes, steps = nodes_of(overrides)
    queue = poller.queue(list_unfinished_job_ids(nodes))
    hours = measure_gpu_hours(work, poller.accounts)
    found = []
    for node in nodes:
        ids = set(node.artifact.job_ids())
        active = [
            row
            for row in queue
            if row.id in ids and is_of_newest_jobs(node.artifact, row.name, row.folder)
        ]
        status = node_status(node, active, hours.get(node.artifact), not poller.problem)
        step = steps.get(node.name)
        has_started = step is None or step.state not in ("new", "stale")
        found.append(status if has_started else replace(status, state=str(step and step.state)))
    return RunStatus(found, budget_of(work, sum(hours.values())))


def nodes_of(overrides: dict[str, str]) -> tuple[list[RunNode], dict[str, Step]]:
    """The selected nodes, and with `recipe=` their steps of the plan."""
    work = resolve_work_folder(overrides)
    if "recipe" not in overrides:
        return read_run(work).nodes, {}
    # The launcher changes nothing of what is shown.
    line = parse_command_line(
        ["stage=all", f"recipe={overrides['recipe']}", f"work={work}", "launcher=local"]
    )
    # The launcher of the run is unknown here, and so is its hub cache.
    steps = make_plan(line.nodes, work, None)
    nodes = [RunNode(s.name, s.node.stage.name, s.units, s.artifact) for s in steps.values()]
    return nodes, steps


def main() -> None:
    """Command line of status."""
    sys.exit(run_command(status, sys.argv[1:]))


if __name__ == "__main__":
    main()
