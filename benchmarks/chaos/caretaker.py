"""The work of a cluster administrator during a campaign: check, resume, release, restart.

A killed controller comes back with nodes in state down or drained. It holds jobs of which it
started second copies, and may crash. None of that is for the product to repair. All of it is
counted, so that the result shows the manual interventions.
"""

import threading
import time

from benchmarks.chaos.cluster import Cluster
from benchmarks.chaos.tally import Tally, print_progress
from benchmarks.common.own_slurm import read_command_output

#: Seconds between two checks.
CARE_PAUSE_S = 10.0
#: A node that is unavailable at so many consecutive checks is resumed. A node that registers with a
#: new controller needs less time than that.
MIN_UNAVAILABLE_CHECKS = 2


class Caretaker:
    """Maintains the cluster of all runs of a campaign, for one run at a time."""

    def __init__(self, cluster: Cluster, tally: Tally) -> None:
        self.cluster, self.tally = cluster, tally
        self.next_check_s = time.monotonic() + CARE_PAUSE_S
        self.unavailable_checks: dict[str, int] = {}
        """Number of consecutive checks at which each node was unavailable."""
        self.at_it = threading.Lock()

    def maintain(self) -> None:
        """Repair the cluster if a check is due and no fault is active."""
        if not self.at_it.acquire(blocking=False):
            return
        try:
            if time.monotonic() < self.next_check_s:
                return
            with self.cluster.alone() as mine:
                if mine:
                    self.revive_controller()
                    self.resume_nodes()
                    self.next_check_s = time.monotonic() + CARE_PAUSE_S
            if mine:
                self.release_held()
        finally:
            self.at_it.release()

    def revive_controller(self) -> None:
        """Restart a controller that crashed by itself, and count it."""
        if not self.cluster.is_gone("slurmctld"):
            return
        self.cluster.killed_at.append(time.time())
        self.cluster.start_controller()
        with self.tally.lock:
            self.tally.crashes += 1
        print_progress("slurmctld had crashed")

    def resume_nodes(self) -> None:
        """Resume nodes that are left down or drained; start a new slurmd if theirs is gone."""
        unavailable = self.cluster.unavailable()
        self.unavailable_checks = {
            host: self.unavailable_checks.get(host, 0) + 1 for host in unavailable
        }
        for host, checks in self.unavailable_checks.items():
            if self.cluster.start_slurmd_of(host):
                print_progress(f"{host}: its slurmd was gone")
            if checks < MIN_UNAVAILABLE_CHECKS:
                continue
            self.cluster.resume(host)
            if checks == MIN_UNAVAILABLE_CHECKS:
                with self.tally.lock:
                    self.tally.nodes_resumed += 1
                print_progress(f"resumed {host}: {unavailable[host]}")

    def release_held(self) -> None:
        """Release the jobs that SLURM holds, as `status` recommends, and count them."""
        if held := self.cluster.held():
            read_command_output("scontrol", "release", ",".join(held))
            with self.tally.lock:
                self.tally.releases += len(held)
            print_progress(f"released {held}")
