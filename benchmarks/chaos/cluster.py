"""Faults of the cluster itself: the controller is killed, nodes are taken out of service.

One fault at a time: the next one starts after the cluster is repaired.
"""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.chaos.tally import Tally
from benchmarks.common.own_slurm import read_command_output, stop_daemon
from benchmarks.common.waiting import WAIT_S, wait_until

#: Seconds between two kills of the controller; with less, launches would see no other fault.
REST_S = 60.0
HOSTS = ("node1", "node2", "node3", "node4")
#: States in which a node takes jobs, or will when a job has ended.
AVAILABLE_STATES = ("idle", "mixed", "allocated", "completing")
#: Suffixes of sinfo states: the node does not respond, or a job is planned there.
SIGNS = "*-"


class Cluster:
    """The daemons and nodes of the benchmark's own SLURM."""

    def __init__(self, folder: Path, tally: Tally) -> None:
        self.folder, self.tally = folder, tally
        self.busy = threading.Lock()
        self.killed_at: list[float] = []
        """When the controller was killed, in seconds since the epoch."""

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Lock the cluster; yields whether no other fault is active."""
        mine = self.busy.acquire(blocking=False)
        try:
            yield mine
        finally:
            if mine:
                self.busy.release()

    @property
    def is_rested(self) -> bool:
        """Whether the controller has been up long enough to have saved its state."""
        return not self.killed_at or time.time() - self.killed_at[-1] > REST_S

    def kill_controller(self, away_s: float) -> None:
        """Send SIGKILL to slurmctld and restart it after `away_s` seconds."""
        self.killed_at.append(time.time())
        with contextlib.suppress(ProcessLookupError):
            stop_daemon(self.folder, "slurmctld", signal.SIGKILL)
        time.sleep(away_s)
        self.start_controller()

    def start_controller(self) -> None:
        """Start slurmctld and wait until it responds. Raises: TimeoutError."""
        self.start("slurmctld")
        wait_until(
            lambda: " UP" in read_command_output("scontrol", "ping"),
            "the controller is up",
            pause_s=0.2,
        )

    def start(self, *argv: str) -> None:
        """Start a daemon in the background. Raises: CalledProcessError."""
        env = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        quiet = subprocess.DEVNULL
        command = [*argv, "-f", str(self.folder / "slurm.conf")]
        subprocess.run(
            command, env=env, check=True, stdin=quiet, stdout=quiet, stderr=quiet, timeout=WAIT_S
        )

    def is_gone(self, daemon: str) -> bool:
        """Whether a daemon has no process: `slurmctld`, or a slurmd by the name of its node."""
        try:
            pid = int((self.folder / f"{daemon}.pid").read_text())
            return not Path(f"/proc/{pid}/comm").read_text().startswith("slurm")
        except (OSError, ValueError):
            return True

    def start_slurmd_of(self, host: str) -> bool:
        """Start the slurmd of a node if it is gone, and count it; return whether it was gone."""
        if not self.is_gone(host):
            return False
        self.start("slurmd", "-N", host)
        with self.tally.lock:
            self.tally.slurmds_restarted += 1
        return True

    def disable_host(self, host: str, state: str, away_s: float) -> None:
        """Set a node to state `drain` or `down` for `away_s` seconds."""
        read_command_output(
            "scontrol", "update", f"nodename={host}", f"state={state}", "reason=chaos"
        )
        time.sleep(away_s)
        self.bring_back(host)

    def bring_back(self, host: str) -> None:
        """Return a node to service. Raises: TimeoutError if it takes no jobs."""

        def is_available() -> bool:
            if host in self.states() and host not in self.unavailable():
                return True
            self.start_slurmd_of(host)
            self.resume(host)
            return False

        wait_until(
            is_available,
            f"{host} takes jobs again",
            pause_s=1.0,
            state=lambda: read_command_output("sinfo"),
        )

    def states(self) -> dict[str, str]:
        """Return state and reason of each node by name; none if the controller does not respond."""
        rows = read_command_output(
            "sinfo", "--noheader", "--Node", "--format=%N|%T|%E"
        ).splitlines()
        found = (row.split("|", 1) for row in rows if row.count("|") > 1)
        return {host.strip(): state.strip() for host, state in found}

    def unavailable(self) -> dict[str, str]:
        """Return state and reason of each node that is down, drained, failed or unknown."""
        return {
            host: state
            for host, state in self.states().items()
            if state.partition("|")[0].rstrip(SIGNS) not in AVAILABLE_STATES
        }

    def resume(self, host: str) -> None:
        """Resume a node."""
        read_command_output("scontrol", "update", f"nodename={host}", "state=resume")

    def held(self) -> list[str]:
        """Return the ids of all jobs that SLURM holds because their node could not start them.

        A killed controller starts second copies of jobs. The node refuses them, and `status`
        reports that they must be released.
        """
        rows = read_command_output(
            "squeue", "--noheader", "--array", "--states=PENDING", "--format=%i|%r"
        )
        found = (row.split("|", 1) for row in rows.splitlines() if "|" in row)
        return [number.strip() for number, why in found if re.search("held|hold", why.lower())]

    def is_forgotten(self, number: str, name: str) -> bool:
        """Whether the controller knows no job, active or ended, with this id and name."""
        return f"JobName={name} " not in read_command_output(
            "scontrol", "--oneliner", "show", "job", number
        )
