"""The daemons of a cluster: start each, wait until it answers, and stop all."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rig.cluster import NODES, read_values
from rig.errors import RigError

#: Started in this order, stopped in the reverse one.
NAMES = ["munged", "mariadb", "slurmdbd", "slurmctld", *NODES]
START_LIMIT_S = 60
STOP_LIMIT_S = 15
ANSWER_LIMIT_S = 20


def start(folder: Path) -> None:
    """Start every daemon.

    Raises: RigError with the end of its log if one does not start.
    """
    with (folder / "start.log").open("ab") as log:
        tables = spawn(folder, log, table_command(folder))
        for name in NAMES:
            if name == "mariadb" and tables.wait() != 0:
                raise failure(folder, "mariadb-install-db")
            daemon = spawn(folder, log, command(folder, name))
            if name not in NODES:
                wait_for(folder, name, daemon)
        for name in NODES:
            wait_for(folder, name, daemon)


def table_command(folder: Path) -> list[str]:
    """The command that creates MariaDB's system tables, in about 2 s, while munge starts."""
    options = ["--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=normal"]
    return ["mariadb-install-db", f"--defaults-file={folder}/mariadb.cnf", *options]


def command(folder: Path, name: str) -> list[str]:
    """The command that starts a daemon."""
    if name in NODES:
        return ["slurmd", "-N", name, "-f", f"{folder}/slurm.conf"]
    if name == "munged":
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munge.seed"}
        # --force: the folder may be where others can write, e.g. under /tmp.
        return ["munged", "--force"] + [f"--{key}={folder}/{file}" for key, file in files.items()]
    if name == "mariadb":
        return ["mariadbd", f"--defaults-file={folder}/mariadb.cnf"]
    return [name, "-f", f"{folder}/slurm.conf"] if name == "slurmctld" else [name]


def spawn(folder: Path, log: IO[bytes], argv: list[str]) -> "subprocess.Popen[bytes]":
    """Start a program with the cluster's environment in its own session."""
    return subprocess.Popen(
        argv,
        env=environment(folder),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def environment(folder: Path) -> dict[str, str]:
    """Environment of the daemons and their clients, without variables of other clusters."""
    others = ("SLURM", "SBATCH", "SRUN", "MYSQL")
    variables = {key: value for key, value in os.environ.items() if not key.startswith(others)}
    variables["MYSQL_UNIX_PORT"] = f"{folder}/mariadb.socket"
    return {**variables, "SLURM_CONF": f"{folder}/slurm.conf"}


def wait_for(folder: Path, name: str, daemon: "subprocess.Popen[bytes]") -> None:
    """Wait until a daemon answers.

    Raises: RigError if it failed or did not answer in time.
    """
    limit_s = time.monotonic() + START_LIMIT_S
    while not answers(folder, name):
        # A daemon that went to the background has exited with 0.
        if time.monotonic() > limit_s or daemon.poll():
            raise failure(folder, name)
        time.sleep(0.05)


def answers(folder: Path, name: str) -> bool:
    """Whether a daemon is ready for the next one."""
    if name == "munged":
        return "\n" in run_client(folder, "munge", "--no-input", f"--socket={folder}/munge.socket")
    if name == "mariadb":
        return accepts(socket.AF_UNIX, f"{folder}/mariadb.socket")
    if name == "slurmdbd":
        return accepts(socket.AF_INET, ("127.0.0.1", int(read_values(folder)["slurmdbd_port"])))
    if name == "slurmctld":
        return " UP" in run_client(folder, "scontrol", "ping")
    state = run_client(
        folder, "sinfo", "-h", "--partition=low", f"--nodes={name}", "--format=%T"
    ).strip()
    return state in ("idle", "mixed", "allocated", "completing")


def accepts(family: socket.AddressFamily, address: object) -> bool:
    """Whether a process listens at an address."""
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0  # type: ignore[arg-type]


def run_client(folder: Path, *argv: str) -> str:
    """Run a client command; return its output, or "" if it failed."""
    try:
        done = subprocess.run(
            argv,
            check=False,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""


def failure(folder: Path, name: str) -> RigError:
    """The error of a daemon that did not start, with the ends of its logs."""
    lines = [f"{name} did not start:"]
    for path in (folder / f"{name}.log", folder / "start.log"):
        if path.exists():
            end = path.read_text(errors="replace").splitlines()[-12:]
            lines += [f"--- the end of {path}:", *end]
    return RigError("\n".join(lines), 70)


def pid_of(folder: Path, name: str) -> int | None:
    """The pid of a daemon; None if it does not run or the pid belongs to another process."""
    try:
        pid = int((folder / f"{name}.pid").read_text())
        variables = Path(f"/proc/{pid}/environ").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if cluster_variable(folder) in variables.split(b"\0") else None


def cluster_variable(folder: Path) -> bytes:
    """The variable in the environment of every process of this cluster."""
    return f"SLURM_CONF={folder}/slurm.conf".encode()


def stop(folder: Path) -> None:
    """Stop the daemons in reverse order, then kill the jobs, as no new ones can start."""
    for name in reversed(NAMES):
        end(folder, name)
    while pids := list(of_jobs(folder)):
        for pid in pids:
            kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def end(folder: Path, name: str) -> None:
    """Send SIGTERM to a daemon, and SIGKILL if it does not end."""
    for number, limit_s in ((signal.SIGTERM, STOP_LIMIT_S), (signal.SIGKILL, 5)):
        pid = pid_of(folder, name)
        if pid is None:
            return
        kill(pid, number)
        until_s = time.monotonic() + limit_s
        while pid_of(folder, name) == pid and time.monotonic() < until_s:
            time.sleep(0.05)


def kill(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def of_jobs(folder: Path) -> Iterator[int]:
    """Processes of jobs, and slurmstepd, which outlive slurmd, but not a user's shell."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
            keeper = (process / "comm").read_text().startswith("slurm")
        except OSError:
            continue
        in_job = any(one.startswith(b"SLURM_JOB_ID=") for one in variables)
        if cluster_variable(folder) in variables and (in_job or keeper):
            yield int(process.name)
