"""Show the log that matters: `python -m hala_hpc.logs work=runs/demo [node=arabic] [unit=17]`.

By default, the end of the first failure: of the node that failed last, the attempt that failed
first. If nothing has failed, the end of the newest log. A line above it names the log and says how
its attempt ended.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import contextlib
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hala_hpc.commands.arguments import (
    add_default_work,
    is_true,
    parse_arguments,
    parse_whole_number,
)
from hala_hpc.commands.command_line import run_command
from hala_hpc.commands.monitoring.log_search import (
    WorkerLog,
    find_failed_node,
    find_log,
    find_newest_failure,
    has_worker_log,
    scheduler_logs,
)
from hala_hpc.core.artifact import MAX_PROGRESS_AGE_S
from hala_hpc.core.errors import NO_INPUT, OK, UserError, suggest_name
from hala_hpc.core.run import Run, RunNode, read_run, resolve_work_folder
from hala_hpc.jobs.attempt_records import attempt_ends, is_rank_active
from hala_hpc.jobs.log_file import LogPart, list_log_parts, read_new_lines, read_tail, whole_log

ARGUMENTS = {
    "work": "folder of a run (default: the one around this folder, else runs/<recipe>)",
    "recipe": "recipe of the run, if work is not given",
    "node": "a node, or a stage",
    "unit": "number of a unit: the log of the worker that made it, or is making it",
    "worker": "number of a worker",
    "rank": "number of a rank of a worker (default: the one that failed, else 0)",
    "attempt": "name of an attempt, or its number from 1 (default: one that failed, or the last)",
    "lines": "how many lines, from the end (default: 60)",
    "follow": "true: print new lines until the node ends",
}
LINES = 60
#: Arguments that select a log.
CHOSEN = {"node", "unit", "worker", "rank", "attempt"}
NOTHING = "(the log is empty: a worker writes little while all goes well)"
#: Between two reads of a log that is followed, in seconds.
PAUSE_S = 0.5


def logs(arguments: Sequence[str]) -> int:
    """Print the selected log; return the exit code. Raises: UserError for mistakes."""
    overrides = parse_arguments(arguments, str(__doc__), ARGUMENTS)
    if overrides is None:
        return OK
    overrides = add_default_work(overrides)
    check_overrides(overrides)
    lines, follow = parse_whole_number(overrides, "lines", LINES), is_true(overrides, "follow")
    run = read_run(resolve_work_folder(overrides))
    location = find_log(run, overrides)
    if isinstance(location, RunNode):
        show_without_worker(location, lines or 0)
        return OK
    part = find_part(location, overrides.get("attempt"))
    if not overrides.keys() & CHOSEN and not has_failure(run):
        print("nothing has failed; the newest log:")
    print(title(location, part))
    print("\n".join(read_tail(location.path, part, lines or 0) or [NOTHING]), flush=True)
    if not overrides.keys() & CHOSEN - {"node"} and not follow:
        show_gates([location.node] if "node" in overrides else run.nodes, lines or 0)
    if follow:
        # Ctrl-C ends the watching, nothing else.
        with contextlib.suppress(KeyboardInterrupt):
            follow_log(location, part.last)
    return OK


def check_overrides(overrides: dict[str, str]) -> None:
    """Raise UserError for arguments that exclude each other."""
    mistakes = []
    if "unit" in overrides and "worker" in overrides:
        mistakes.append("unit= and worker= are given: a unit has one worker, write one of them")
    if "attempt" in overrides and is_true(overrides, "follow"):
        mistakes.append("follow=true shows what is written now: leave attempt= out")
    if mistakes:
        raise UserError(mistakes)


def has_failure(run: Run) -> bool:
    """Whether a node or an attempt of a run has failed."""
    return find_failed_node(run.nodes) is not None or find_newest_failure(run.nodes) is not None


def find_part(location: WorkerLog, name: str | None) -> LogPart:
    """The lines of the selected attempt. Raises: UserError (NO_INPUT) if there are none."""
    parts = list_log_parts(location.path)
    if not parts:
        raise UserError(
            f"{location.node.name}: worker {location.worker} rank {location.rank} has not begun: "
            f"there is no {location.path}",
            NO_INPUT,
        )
    name = name or location.attempt
    if name is None:
        return parts[-1]
    if re.fullmatch(r"[1-9]\d{0,3}", name) and int(name) <= len(parts):
        return parts[int(name) - 1]
    matching = [part for part in parts if part.attempt == name]
    if not matching:
        names = [part.attempt for part in parts]
        near = suggest_name(name, names, "attempts of this worker")
        raise UserError(f"attempt={name}: {near} (or a number from 1 to {len(parts)})")
    return matching[-1]


def title(location: WorkerLog, part: LogPart) -> str:
    """The header: whose log it is and how the attempt ended."""
    return (
        f"{location.node.name}: worker {location.worker}, rank {location.rank}, "
        f"attempt {part.attempt} on {part.host}, {state(location, part)} ({location.path})"
    )


def state(location: WorkerLog, part: LogPart) -> str:
    """Whether an attempt is running, or how it ended."""
    artifact = location.node.artifact
    # Checked before the end is: an attempt that ends in between has written its record by then.
    is_active = is_rank_active(artifact, part.attempt, location.worker, location.rank)
    ends = attempt_ends(artifact)
    end = next((e for e in ends if (e.name, e.rank) == (part.attempt, location.rank)), None)
    if end is not None:
        return end.describe()
    if is_active:
        return "running"
    if has_recently_started(part):
        return "running, begun less than a minute ago"
    return "left no record: it was killed, or its machine was lost"


def has_recently_started(part: LogPart) -> bool:
    """Whether an attempt may be too young to have written its progress."""
    began = time.mktime(time.strptime(part.began, "%Y-%m-%d %H:%M:%S"))
    return abs(time.time() - began) < MAX_PROGRESS_AGE_S


def show_without_worker(node: RunNode, lines: int) -> None:
    """Print why a node failed though no worker did: its reasons, and its other jobs' output."""
    failure = node.artifact.failure()
    if failure is None:
        print(f"{node.name}: no worker has begun, and no gate has found out why; its jobs printed:")
        show_files(node, lines)
        return
    workers = "no worker has failed" if has_worker_log(node.artifact) else "no worker has begun"
    # Without the end of a file that is shown below.
    reasons = "; ".join(reason.text for reason in failure.reasons) or "no reason was given"
    print(f"{node.name}: {workers}, exit code {failure.code}: {reasons}")
    show_files(node, lines)


def show_gates(nodes: Sequence[RunNode], lines: int) -> None:
    """Print the output of gates that have not decided: one that died wrote its error only there."""
    for node in nodes:
        artifact = node.artifact
        is_open = artifact.summary() is None and not artifact.failure_file.exists()
        if is_open and has_worker_log(artifact) and scheduler_logs(artifact):
            print(f"{node.name}: its gate has not closed it; the gate printed:")
            show_files(node, lines)


def show_files(node: RunNode, lines: int) -> None:
    """Print the ends of what the jobs of a node wrote beside the workers' logs."""
    for path in scheduler_logs(node.artifact):
        show_whole(path, lines)


def show_whole(path: Path, lines: int) -> None:
    """Print the end of a log that has no parts."""
    print(f"--- {path}")
    print("\n".join(read_tail(path, whole_log(path), lines)))


def follow_log(location: WorkerLog, at: int) -> None:
    """Print what is added to a log until its node has ended."""
    artifact = location.node.artifact
    with location.path.open("rb") as file:
        file.seek(at)
        while True:
            over = artifact.summary() is not None or artifact.failure_file.exists()
            for line in read_new_lines(file):
                print(line)
            sys.stdout.flush()
            if over and not artifact.is_alive():
                return
            time.sleep(PAUSE_S)


def main() -> None:
    """Command line of logs."""
    sys.exit(run_command(logs, sys.argv[1:]))


if __name__ == "__main__":
    main()
