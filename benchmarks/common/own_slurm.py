"""A real SLURM for one benchmark, with limits of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.common.waiting import WAIT_S, wait_until

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def own_slurm(
    config: str = "", sacctmgr_commands: Sequence[str] = (), *arguments: str
) -> Iterator[Path]:
    """Start a cluster whose slurm.conf ends with `config`; yield its folder, with SLURM_CONF set.

    `sacctmgr_commands` are run first; `arguments` are those of `slurm/minislurm up`.
    """
    folder = Path(tempfile.mkdtemp(prefix="own-slurm-"))
    before = os.environ.get("SLURM_CONF")
    try:
        minislurm("up", "--folder", str(folder), *arguments)
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        for command in sacctmgr_commands:
            run_sacctmgr(command)
        if config:
            with (folder / "slurm.conf").open("a") as conf:
                conf.write(f"\n{config}\n")
            restart_controller(folder)
        yield folder
    finally:
        minislurm("down", "--folder", str(folder))
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop("SLURM_CONF", None)
        if before is not None:
            os.environ["SLURM_CONF"] = before


def minislurm(*arguments: str) -> None:
    """Run slurm/minislurm as a user does."""
    command = [sys.executable, str(ROOT / "slurm" / "minislurm"), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_S)


def run_sacctmgr(arguments: str) -> None:
    """Run a sacctmgr command, e.g. `modify account root set MaxSubmitJobs=50`."""
    command = ["sacctmgr", "-i", *arguments.split()]
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_S)


def restart_controller(folder: Path) -> None:
    """Restart slurmctld: it reads array sizes and enforced limits at its start only."""
    stop_daemon(folder, "slurmctld")
    start_controller(folder)


def start_controller(folder: Path) -> None:
    """Start slurmctld and wait until it has nodes for jobs."""
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    quiet = subprocess.DEVNULL
    command = ["slurmctld", "-f", str(folder / "slurm.conf")]
    subprocess.run(
        command, env=env, check=True, stdin=quiet, stdout=quiet, stderr=quiet, timeout=WAIT_S
    )
    wait_until(
        lambda: " UP" in read_command_output("scontrol", "ping"),
        "the controller is up",
        pause_s=0.1,
    )
    wait_until(
        lambda: "idle" in read_command_output("sinfo", "--noheader", "--format=%t"),
        "a node is idle",
        pause_s=0.1,
        state=lambda: read_command_output("sinfo"),
    )


def stop_daemon(folder: Path, daemon: str, number: int = signal.SIGTERM) -> None:
    """Stop a daemon of the cluster and wait until it is gone."""
    pid = int((folder / f"{daemon}.pid").read_text())
    os.kill(pid, number)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), f"the end of {daemon}")


def read_command_output(*argv: str) -> str:
    """Return the output of a command, with any exit code."""
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=WAIT_S).stdout


def wait_for_empty_queue() -> None:
    """Wait until the queue is empty. Raises: TimeoutError, with the queue."""
    wait_until(
        lambda: not read_command_output("squeue", "--noheader"),
        "an empty queue",
        pause_s=0.2,
        state=lambda: read_command_output("squeue"),
    )
