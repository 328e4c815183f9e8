"""Show the log that matters: `python -m hala_hpc.logs work=runs/demo [node=arabic] [unit=17]`.

Without more words, the end of the first failure: of the node that failed last, the attempt that
failed first; where nothing has failed, the end of the newest log. One line above it says which it
is, and how it ended.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import start_quickly

    start_quickly()

import contextlib
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hala_hpc.commands.arguments import is_true, named_run, read_number, read_words
from hala_hpc.commands.command_line import report_mistakes
from hala_hpc.commands.monitoring.log_search import (
    Place,
    failed_node,
    find_place,
    has_begun,
    newest_failure,
    scheduler_logs,
)
from hala_hpc.core.artifact import ALIVE_S
from hala_hpc.core.errors import NO_INPUT, OK, UserError, closest
from hala_hpc.core.run import Run, RunNode, read_run, work_folder
from hala_hpc.jobs.attempt_records import attempt_ends, is_at_work
from hala_hpc.jobs.log_file import LogPart, new_lines, parts_of, tail, whole

WORDS = {
    "work": "folder of a run (default: runs/<recipe>)",
    "recipe": "recipe whose run is meant, where work is not given",
    "node": "a node, or a stage",
    "unit": "number of a unit: the log of the worker that made it, or has it now",
    "worker": "number of a worker",
    "rank": "number of a rank of a worker (default: the one that failed, else 0)",
    "attempt": "name of an attempt, or its number from 1 (default: one that failed, or the last)",
    "lines": "how many lines, from the end (default: 60)",
    "follow": "true: go on with what is written, until the node ends",
}
LINES = 60
#: Words that say which log is meant.
CHOSEN = {"node", "unit", "worker", "rank", "attempt"}
NOTHING = "(it has written nothing: a worker writes little while all goes well)"
#: Between two looks at a log that is followed, in seconds.
PAUSE_S = 0.5


def logs(arguments: Sequence[str]) -> int:
    """Show what a line asks for; return the exit code. Raises UserError for mistakes."""
    words = read_words(arguments, str(__doc__), WORDS)
    if words is None:
        return OK
    words = named_run(words)
    check(words)
    lines, follow = read_number(words, "lines", LINES), is_true(words, "follow")
    run = read_run(work_folder(words))
    place = find_place(run, words)
    if isinstance(place, RunNode):
        show_without_worker(place, lines or 0)
        return OK
    part = find_part(place, words.get("attempt"))
    if not words.keys() & CHOSEN and not has_failure(run):
        print("nothing has failed; the log that was written last:")
    print(title(place, part))
    print("\n".join(tail(place.path, part, lines or 0) or [NOTHING]), flush=True)
    if not words.keys() & CHOSEN - {"node"} and not follow:
        show_gates([place.node] if "node" in words else run.nodes, lines or 0)
    if follow:
        # Ctrl-C ends the watching, and nothing else.
        with contextlib.suppress(KeyboardInterrupt):
            follow_log(place, part.last)
    return OK


def check(words: dict[str, str]) -> None:
    """Raise UserError for words that do not go together."""
    mistakes = []
    if "unit" in words and "worker" in words:
        mistakes.append("unit= and worker= are given: a unit has one worker, write one of them")
    if "attempt" in words and is_true(words, "follow"):
        mistakes.append("follow=true shows what is written now: leave attempt= out")
    if mistakes:
        raise UserError(mistakes)


def has_failure(run: Run) -> bool:
    """Whether a node or an attempt of a run has failed."""
    return failed_node(run.nodes) is not None or newest_failure(run.nodes) is not None


def find_part(place: Place, word: str | None) -> LogPart:
    """The lines of the attempt that is meant. Raises UserError (66) when there are none."""
    parts = parts_of(place.path)
    if not parts:
        raise UserError(
            f"{place.node.name}: worker {place.worker} rank {place.rank} has not begun: "
            f"there is no {place.path}",
            NO_INPUT,
        )
    word = word or place.attempt
    if word is None:
        return parts[-1]
    if re.fullmatch(r"[1-9]\d{0,3}", word) and int(word) <= len(parts):
        return parts[int(word) - 1]
    named = [part for part in parts if part.attempt == word]
    if not named:
        names = [part.attempt for part in parts]
        near = closest(word, names, "attempts of this worker")
        raise UserError(f"attempt={word}: {near} (or a number from 1 to {len(parts)})")
    return named[-1]


def title(place: Place, part: LogPart) -> str:
    """The line above: whose log it is and how the attempt ended."""
    return (
        f"{place.node.name}: worker {place.worker}, rank {place.rank}, attempt {part.attempt} "
        f"on {part.host}, {state(place, part)} ({place.path})"
    )


def state(place: Place, part: LogPart) -> str:
    """Whether an attempt is at work, or how it ended."""
    artifact = place.node.artifact
    # Looked at before the end is: an attempt that ends in between has left its word by then.
    at_work = is_at_work(artifact, part.attempt, place.worker, place.rank)
    ends = attempt_ends(artifact)
    end = next((e for e in ends if (e.name, e.rank) == (part.attempt, place.rank)), None)
    if end is not None:
        return end.words()
    if at_work:
        return "at work"
    if has_just_begun(part):
        return "at work, begun less than a minute ago"
    return "left no word: it was killed, or its machine was lost"


def has_just_begun(part: LogPart) -> bool:
    """Whether an attempt may still be too young to have given a sign of life."""
    began = time.mktime(time.strptime(part.began, "%Y-%m-%d %H:%M:%S"))
    return abs(time.time() - began) < ALIVE_S


def show_without_worker(node: RunNode, lines: int) -> None:
    """Why a node failed though no worker did: its reasons, and what its other jobs printed."""
    failure = node.artifact.failure()
    if failure is None:
        print(f"{node.name}: no worker has begun, and no gate has decided why; its jobs printed:")
        show_files(node, lines)
        return
    workers = "no worker has failed" if has_begun(node.artifact) else "no worker has begun"
    # Without the end of a file that is shown below.
    reasons = "; ".join(reason.text for reason in failure.reasons) or "no reason was given"
    print(f"{node.name}: {workers}, exit code {failure.code}: {reasons}")
    show_files(node, lines)


def show_gates(nodes: Sequence[RunNode], lines: int) -> None:
    """What gates printed that have decided nothing: one that died wrote it there alone."""
    for node in nodes:
        artifact = node.artifact
        is_open = artifact.summary() is None and not artifact.failure_file.exists()
        if is_open and has_begun(artifact) and scheduler_logs(artifact):
            print(f"{node.name}: its gate has decided nothing; it printed:")
            show_files(node, lines)


def show_files(node: RunNode, lines: int) -> None:
    """The ends of what the jobs of a node printed beside the workers' logs."""
    for path in scheduler_logs(node.artifact):
        show_whole(path, lines)


def show_whole(path: Path, lines: int) -> None:
    """The end of a log that has no parts."""
    print(f"--- {path}")
    print("\n".join(tail(path, whole(path), lines)))


def follow_log(place: Place, at: int) -> None:
    """Print what is added to a log until its node has ended."""
    artifact = place.node.artifact
    with place.path.open("rb") as file:
        file.seek(at)
        while True:
            over = artifact.summary() is not None or artifact.failure_file.exists()
            for line in new_lines(file):
                print(line)
            sys.stdout.flush()
            if over and not artifact.is_alive():
                return
            time.sleep(PAUSE_S)


def main() -> None:
    """Command line of logs."""
    sys.exit(report_mistakes(logs, sys.argv[1:]))


if __name__ == "__main__":
    main()
