"""A real SLURM of a benchmark's own, with the limits that it wants."""

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
def own_slurm(config: str = "", orders: Sequence[str] = (), *words: str) -> Iterator[Path]:
    """Folder of a cluster whose slurm.conf ends with `config`; the environment names it meanwhile.

    `orders` are given to sacctmgr first, `words` to `slurm/minislurm up`.
    """
    folder = Path(tempfile.mkdtemp(prefix="own-slurm-"))
    before = os.environ.get("SLURM_CONF")
    try:
        minislurm("up", "--folder", str(folder), *words)
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        for order in orders:
            accounting(order)
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


def minislurm(*words: str) -> None:
    """Call slurm/minislurm as a person does."""
    command = [sys.executable, str(ROOT / "slurm" / "minislurm"), *words]
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_S)


def accounting(order: str) -> None:
    """Give sacctmgr an order, e.g. `modify account root set MaxSubmitJobs=50`."""
    command = ["sacctmgr", "-i", *order.split()]
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_S)


def restart_controller(folder: Path) -> None:
    """Array sizes and what is enforced are read at the start of the controller only."""
    end(folder, "slurmctld")
    start_controller(folder)


def start_controller(folder: Path) -> None:
    """Start the controller and wait until it has nodes for jobs."""
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    quiet = subprocess.DEVNULL
    command = ["slurmctld", "-f", str(folder / "slurm.conf")]
    subprocess.run(
        command, env=env, check=True, stdin=quiet, stdout=quiet, stderr=quiet, timeout=WAIT_S
    )
    wait_until(lambda: " UP" in answer("scontrol", "ping"), "the controller is up", pause_s=0.1)
    wait_until(
        lambda: "idle" in answer("sinfo", "--noheader", "--format=%t"),
        "a node is idle",
        pause_s=0.1,
        state=lambda: answer("sinfo"),
    )


def end(folder: Path, daemon: str, number: int = signal.SIGTERM) -> None:
    """Stop a daemon of the cluster and wait until it is gone."""
    pid = int((folder / f"{daemon}.pid").read_text())
    os.kill(pid, number)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), f"the end of {daemon}")


def answer(*words: str) -> str:
    """What a command prints, whether it succeeds or not."""
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=WAIT_S).stdout


def wait_for_empty_queue() -> None:
    """Wait until no job of anybody is in the queue. Raises TimeoutError, with the queue."""
    wait_until(
        lambda: not answer("squeue", "--noheader"),
        "an empty queue",
        pause_s=0.2,
        state=lambda: answer("squeue"),
    )
