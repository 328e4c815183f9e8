"""What an administrator does for the cluster meanwhile: look, resume, release, start again.

A controller that is killed comes back with nodes that it takes for down or drained, holds jobs that
it started beside themselves, and may die of itself. Nothing of that is the product's to mend, and
all of it is counted, so that a campaign says what was done by hand.
"""

import threading
import time

from benchmarks.chaos.cluster import Cluster
from benchmarks.chaos.tally import Tally, print_progress
from benchmarks.common.own_slurm import read_command_output

#: Seconds between two looks.
CARE_PAUSE_S = 10.0
#: A node that is unwell at so many looks one after the other is resumed: one that has to register
#: with a new controller first takes less than that.
MIN_UNAVAILABLE_CHECKS = 2


class Caretaker:
    """Looks after the cluster of all runs of a campaign, for one of them at a time."""

    def __init__(self, cluster: Cluster, tally: Tally) -> None:
        self.cluster, self.tally = cluster, tally
        self.next_check_s = time.monotonic() + CARE_PAUSE_S
        self.unavailable_checks: dict[str, int] = {}
        """How often one after the other each node was seen unwell."""
        self.at_it = threading.Lock()

    def maintain(self) -> None:
        """Mend what is broken, where it is time to look and no blow is under way."""
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
        """Start a controller that died of itself, as SLURM's may, and count that."""
        if not self.cluster.is_gone("slurmctld"):
            return
        self.cluster.killed_at.append(time.time())
        self.cluster.start_controller()
        with self.tally.lock:
            self.tally.crashes += 1
        print_progress("slurmctld had died of itself")

    def resume_nodes(self) -> None:
        """Resume nodes that are left down or drained, with a new slurmd where theirs is gone."""
        unwell = self.cluster.unavailable()
        self.unavailable_checks = {
            host: self.unavailable_checks.get(host, 0) + 1 for host in unwell
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
                print_progress(f"resumed {host}: {unwell[host]}")

    def release_held(self) -> None:
        """Release what SLURM holds, as `status` asks for, and count that."""
        if held := self.cluster.held():
            read_command_output("scontrol", "release", ",".join(held))
            with self.tally.lock:
                self.tally.releases += len(held)
            print_progress(f"released {held}")
