"""Jobs as child processes of this machine, one after the other."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.job import Job
from hala_hpc.core.ports import free_port
from hala_hpc.core.process_tree import below, end_with_parent, kill

#: Time for a worker to commit after Ctrl-C, in seconds.
STOP_WAIT_S = 60
#: Runs the launcher's shell lines, then the program with its variables, which win. What the lines
#: print goes into a file, as that of a SLURM job does; that they ended well, into a pipe.
SHELL = """set -eo pipefail
hala_printed=$1 hala_set_up=$2
shift 2
exec {{hala_out}}>&1 {{hala_err}}>&2 >>"$hala_printed" 2>&1
trap 'echo "setup: $BASH_COMMAND"' EXIT
{setup}
trap - EXIT
echo >&"$hala_set_up"
[[ -s $hala_printed ]] || rm -f "$hala_printed"
exec >&"$hala_out" 2>&"$hala_err" {{hala_out}}>&- {{hala_err}}>&- {{hala_set_up}}>&-
exec env "$@"
"""


class SetupFailed(UserError):
    """A shell line of the launcher ended badly, so that no program of the job has begun."""

    def __init__(self, code: int, printed: Path) -> None:
        super().__init__(f"a line of the launcher's setup ended with code {code}", CONFIG)
        self.printed = printed
        """What the lines printed, and at its end the one that ended badly."""


class Rank(NamedTuple):
    """One rank of an element, and how it is known whether its program has begun."""

    process: "subprocess.Popen[bytes]"
    set_up: int | None = None
    """The reading end of a pipe in which a byte is when the shell lines have ended well; None
    where there are none."""

    def has_begun(self) -> bool:
        """Whether the shell lines, if any, have ended well; asked once, when it has ended."""
        if self.set_up is None:
            return True
        with os.fdopen(self.set_up, "rb", buffering=0) as pipe:
            return bool(pipe.read(1))


def run(job: Job, watch: Callable[[], None]) -> list[int]:
    """Run every element of a job, all ranks of an element at once; return their exit codes.

    `watch` is called several times a second while they run. Ctrl-C asks them to commit and
    leave, and is raised again when they have.
    """
    return [run_element(job, element, watch) for element in range(job.elements or 1)]


def run_element(job: Job, element: int, watch: Callable[[], None]) -> int:
    """Run one element; the exit code of its first rank that failed, else 0.

    Raises: SetupFailed (CONFIG) where a rank did not come so far.
    """
    count = job.resources.world_size
    of_all = {
        **job.environment,
        "HALA_JOB_ID": uuid4().hex[:12],
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    command = job.command(None if job.elements is None else element)
    printed = job.folder / f"job-{of_all['HALA_JOB_ID']}.out"
    ranks = [
        start(command, (job.setup, printed), {**of_all, "RANK": str(n), "LOCAL_RANK": str(n)})
        for n in range(count)
    ]
    children = [rank.process for rank in ranks]
    try:
        while all(child.poll() is None for child in children):
            watch()
            time.sleep(0.2)
        # Others may be stopped in their shell lines because of these.
        first = [rank for rank in ranks if rank.process.poll()]
        wait_or_stop(children)
    except BaseException:
        stop(children)
        raise
    not_begun = [rank for rank in ranks if not rank.has_begun()]
    if lost := [rank.process.returncode for rank in first if rank in not_begun]:
        raise SetupFailed(lost[0], printed)
    return next((child.returncode for child in children if child.returncode), 0)


def start(
    command: Sequence[str], setup: tuple[Sequence[str], Path], variables: Mapping[str, str]
) -> Rank:
    """Start one rank; the shell lines of the launcher, if any, run before it as in a SLURM job.

    `setup` has them and the file for what they print.
    """
    lines, printed = setup
    if not lines:
        return Rank(start_process(command, variables))
    printed.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    shell = SHELL.format(setup="\n".join(lines))
    pairs = [f"{name}={value}" for name, value in variables.items()]
    words = ["bash", "-c", shell, "setup", str(printed), str(writing), *pairs, *command]
    try:
        return Rank(start_process(words, variables, [writing]), reading)
    finally:
        os.close(writing)


def start_process(
    command: Sequence[str], variables: Mapping[str, str], descriptors: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    """Start a program that is asked to stop when the launch ends."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        start_new_session=True,
        # However the launch ends, its workers are asked to stop.
        preexec_fn=partial(end_with_parent, signal.SIGTERM, os.getpid()),  # noqa: PLW1509 - one thread
        env={**os.environ, **variables},
    )


def wait_or_stop(children: list[subprocess.Popen[bytes]]) -> None:
    """When a rank failed, the others wait for it in vain: stop them."""
    if any(child.poll() for child in children):
        stop(children)
    for child in children:
        child.wait()


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    """Ask the workers to commit and leave, and kill those that do not in time.

    With all that is below them: what was stopped heeds no other signal.
    """
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_WAIT_S
    for child in children:
        try:
            child.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # Looked up while it lives: without it nobody knows whose they were.
            left = below([child.pid])
            child.kill()
            kill(left)
            child.wait()
