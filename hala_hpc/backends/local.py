"""Run jobs as child processes on this machine, one after the other."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from hala_hpc.backends.slurm.client import clean_environment
from hala_hpc.backends.slurm.task_environment import JOB_END
from hala_hpc.core.environment import CODE_FOLDER_VARIABLE
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.job import Job
from hala_hpc.core.ports import find_free_port
from hala_hpc.core.process_tree import find_descendants, kill_processes, signal_on_parent_exit

#: Prefixes and names of variables by which an allocation, an MPI launcher or torchrun around this
#: launch assigns ranks to processes: the jobs here are not ranks of it.
OF_OTHERS = (
    *("PMI_", "PMI2_", "PMIX_", "MPI_", "OMPI_", "PRTE_", "PALS_", "FLUX_"),
    *("TORCHELASTIC_", "HYDRA_", "MPICH_", "I_MPI_"),
)
OF_RANKS = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "ROLE_RANK", "CROSS_RANK"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "CROSS_SIZE"),
    *("LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT", "HALA_RESTARTS", "HALA_NODE", "HALA_STOP_FD"),
)
#: Seconds for a worker to commit after Ctrl-C.
STOP_WAIT_S = 60
#: Puts the code snapshot before the PYTHONPATH that the launcher's setup has set.
CODE_FIRST = f'PYTHONPATH="${CODE_FOLDER_VARIABLE}${{PYTHONPATH:+:$PYTHONPATH}}" '
#: Runs the launcher's `setup` lines, then the program with its variables, which take precedence.
#: Output of the lines goes to a file, as for a SLURM job; their success is written to a pipe.
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
exec env {code}"$@"
"""


class SetupFailed(UserError):
    """A `setup` line of the launcher failed, so that the program of the job did not start."""

    def __init__(self, code: int, printed: Path) -> None:
        super().__init__(f"a setup line of the launcher ended with code {code}", CONFIG)
        self.printed = printed
        """File with the output of the lines, and at its end the failed line."""


class Rank(NamedTuple):
    """The process of one rank of an array task, and whether its program has started."""

    process: "subprocess.Popen[bytes]"
    set_up: int | None = None
    """Read end of a pipe that holds a byte once the `setup` lines have succeeded; None without
    `setup` lines."""

    def has_begun(self) -> bool:
        """Whether the `setup` lines, if any, succeeded; called once, after the process ended."""
        if self.set_up is None:
            return True
        with os.fdopen(self.set_up, "rb", buffering=0) as pipe:
            return bool(pipe.read(1))


def run_job(job: Job, watch: Callable[[], None]) -> list[int]:
    """Run every task of a job in turn, with all its ranks at once; return their exit codes.

    `watch` is called several times a second while they run. Ctrl-C asks the ranks to commit and
    exit, and is raised again when they have.
    """
    return [run_element(job, element, watch) for element in range(job.array_size or 1)]


def run_element(job: Job, element: int, watch: Callable[[], None]) -> int:
    """Run one task of a job; return the exit code of its first failed rank, else 0.

    Raises: SetupFailed (CONFIG) if the `setup` lines of a rank failed.
    """
    count = job.resources.world_size
    of_all = {
        **job.environment,
        "HALA_JOB_ID": uuid4().hex[:12],
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_port()),
    }
    command = job.command(None if job.array_size is None else element)
    printed = job.folder / f"job-{of_all['HALA_JOB_ID']}.out"
    ranks = [
        start(job, command, printed, {**of_all, "RANK": str(n), "LOCAL_RANK": str(n)})
        for n in range(count)
    ]
    children = [rank.process for rank in ranks]
    try:
        while all(child.poll() is None for child in children):
            watch()
            time.sleep(0.2)
        # Other ranks may be stopped in their `setup` lines because of these.
        first = [rank for rank in ranks if rank.process.poll()]
        wait_or_stop(children)
    except BaseException:
        stop(children)
        raise
    not_begun = [rank for rank in ranks if not rank.has_begun()]
    if lost := [rank.process.returncode for rank in first if rank in not_begun]:
        raise SetupFailed(lost[0], printed)
    return next((child.returncode for child in children if child.returncode), 0)


def start(job: Job, command: Sequence[str], printed: Path, variables: Mapping[str, str]) -> Rank:
    """Start one rank, after the `setup` lines of the launcher, if any, as in a SLURM job.

    The output of the lines is written to `printed`.
    """
    environment = {**environment_of_one(), **variables}
    code = variables.get(CODE_FOLDER_VARIABLE, "")
    # Python imports from the working directory first, which may be the clone.
    folder = job.folder if code else None
    if code or job.setup:
        job.folder.mkdir(parents=True, exist_ok=True)
    if not job.setup:
        if code:
            parts = (code, environment.get("PYTHONPATH", ""))
            environment["PYTHONPATH"] = os.pathsep.join(part for part in parts if part)
        return Rank(start_process(command, environment, folder))
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    argv = [*after_setup(job, variables), str(printed), str(writing)]
    argv += [*pairs_of(variables), *command]
    try:
        return Rank(start_process(argv, environment, folder, [writing]), reading)
    finally:
        os.close(writing)


def start_process(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path | None,
    descriptors: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start a program in a folder; it gets SIGTERM when the launch ends."""
    return subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        start_new_session=True,
        # Workers get SIGTERM however the launch ends.
        preexec_fn=partial(signal_on_parent_exit, signal.SIGTERM, os.getpid()),  # noqa: PLW1509 - one thread
        env=environment,
    )


def after_setup(job: Job, variables: Mapping[str, str]) -> list[str]:
    """The shell command that runs the launcher's `setup` lines and then the arguments after it."""
    code = CODE_FIRST if CODE_FOLDER_VARIABLE in variables else ""
    shell = SHELL.format(setup="\n".join(job.setup), code=code)
    return ["bash", "-c", shell, "setup"]


def pairs_of(variables: Mapping[str, str]) -> list[str]:
    """Variables as arguments of `env`; they override what the `setup` lines set."""
    has_code = CODE_FOLDER_VARIABLE in variables
    return [
        f"{name}={value}"
        for name, value in variables.items()
        if not (has_code and name == "PYTHONPATH")
    ]


def environment_of_one() -> dict[str, str]:
    """The environment without the variables that make a process a rank of a surrounding job.

    In an allocation of two tasks (`salloc -n 2`) a worker would wait for a second rank that is
    never started. What the allocation grants stays: cores, memory, GPUs by CUDA_VISIBLE_DEVICES,
    and its time limit, before which a training saves.
    """
    end = {name: os.environ[name] for name in (JOB_END,) if name in os.environ}
    return end | {
        name: value
        for name, value in clean_environment().items()
        if name not in OF_RANKS and not name.startswith(OF_OTHERS)
    }


def wait_or_stop(children: list[subprocess.Popen[bytes]]) -> None:
    """Wait for all ranks; stop the others if one failed, as they would wait for it forever."""
    if any(child.poll() for child in children):
        stop(children)
    for child in children:
        child.wait()


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    """Ask the workers to commit and exit; kill those that do not in time, with their descendants.

    SIGKILL is needed, as stopped processes react to no other signal.
    """
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_WAIT_S
    for child in children:
        try:
            child.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # Collected while the worker runs: afterwards its descendants cannot be found.
            left = find_descendants([child.pid])
            child.kill()
            kill_processes(left)
            child.wait()
