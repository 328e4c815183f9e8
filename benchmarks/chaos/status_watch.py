"""Poll `status` and compare each answer with squeue, /proc and the disk.

Each answer is between two observations. It is wrong only if both observations rule it out. So no
clock is trusted, and the tolerance is the duration of the answer.
"""

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.chaos import queued_jobs, run_processes
from benchmarks.chaos.cluster import Cluster
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.node_folder import node_folders, waiting_for_room
from benchmarks.chaos.queued_jobs import QueuedJob
from benchmarks.chaos.tally import Tally, print_progress
from benchmarks.common.own_slurm import ROOT

#: An answer that takes longer is none.
ANSWER_LIMIT_S = 120
PAUSE_S = (0.3, 3.0)


@dataclass(frozen=True)
class NodeMoment:
    """The observed state of one node at one moment."""

    markers: int
    is_done: bool
    has_failed: bool
    waits_for_room: bool
    written: frozenset[str]
    """Ids of its recorded jobs."""
    jobs: dict[str, QueuedJob] | None
    """Its jobs in the queue by their own ids; None if the controller did not respond."""
    is_at_work: bool
    """Whether it has a process of a worker or a gate."""
    given: int
    """Number of launches of its run."""
    is_launching: bool
    """Whether a launch is running, which clears failures and starts rounds."""

    def running(self) -> set[tuple[str, str]]:
        """Return the recorded jobs that run, each with its start time."""
        jobs = (self.jobs or {}).values()
        return {
            (job.element, job.start) for job in jobs if job.id in self.written and not job.waits
        }

    def known(self) -> set[str]:
        """Return the recorded jobs that are in the queue."""
        return {job.element for job in (self.jobs or {}).values() if job.id in self.written}


def moment(work: Path, ledger: Ledger) -> dict[str, NodeMoment]:
    """Return the current state of every node of a run."""
    queue = queued_jobs.query_queue(work)
    at_work = set(run_processes.find_processes(work).nodes.values())
    room = waiting_for_room(work)
    return {
        name: NodeMoment(
            markers=node.count_markers(),
            is_done=node.is_done,
            has_failed=node.has_failed,
            waits_for_room=name in room,
            written=frozenset(node.job_ids()),
            jobs=None if queue is None else {j.element: j for j in queue if j.node == name},
            is_at_work=name in at_work,
            given=ledger.given,
            is_launching=ledger.is_launching,
        )
        for name, node in node_folders(work).items()
    }


def what_is_wrong(
    reported: dict[str, Any], before: NodeMoment, after: NodeMoment, blind: bool
) -> str:
    """Return why an answer about one node is wrong; empty if it may be right."""
    state = reported["state"]
    if wrong := wrong_by_disk(state, reported["units_done"], before, after):
        return wrong
    if blind or before.jobs is None or after.jobs is None:
        return ""
    return wrong_by_queue(state, before, after)


def wrong_by_disk(state: str, units_done: int, before: NodeMoment, after: NodeMoment) -> str:
    """Compare an answer with the files of the node."""
    if state not in ("done", "failed", "running", "waiting", "partial", "new"):
        return f"no file was damaged, and it is {state}"
    if not before.markers <= units_done <= after.markers:
        return f"{units_done} units, and there were {before.markers} to {after.markers} markers"
    if state == "done" and not after.is_done:
        return "done without its summary"
    if state != "done" and before.is_done and after.is_done:
        return f"{state}, and its summary is there"
    was_launching = before.is_launching or after.is_launching or before.given != after.given
    if state == "failed" and not (before.has_failed or after.has_failed or was_launching):
        return "failed without a failure written down"
    return ""


def wrong_by_queue(state: str, before: NodeMoment, after: NodeMoment) -> str:
    """Compare an answer with the queue and the processes."""
    was_at_work = before.is_at_work or after.is_at_work
    nothing = not before.jobs and not after.jobs
    all_wait = before.jobs == after.jobs and all(job.waits for job in (before.jobs or {}).values())
    if state == "running" and all_wait and not was_at_work:
        return f"running, and nothing of it does: {before.jobs}"
    if state == "waiting":
        if nothing and not (before.waits_for_room or after.waits_for_room):
            return "waiting, and no job of it is in the queue"
        if running := before.running() & after.running():
            return f"waiting, and {sorted(running)} run"
    if state in ("partial", "new", "failed") and (both := before.known() & after.known()):
        return f"{state}, and {sorted(both)} are in the queue"
    is_failed = nothing and before.has_failed and after.has_failed
    return f"{state}, and its failure is written down" if is_failed and state != "failed" else ""


class StatusWatch(threading.Thread):
    """Polls the status of one run until `end` is called.

    An answer during which the controller was killed is compared with the disk only: forgotten jobs
    may have existed between both observations.
    """

    def __init__(self, work: Path, cluster: Cluster, ledger: Ledger, tally: Tally) -> None:
        super().__init__(daemon=True)
        self.work, self.cluster, self.ledger, self.tally = work, cluster, ledger, tally
        self.chance = Random(work.name)
        self.ended = threading.Event()

    def run(self) -> None:
        """Poll repeatedly."""
        while not self.ended.wait(self.chance.uniform(*PAUSE_S)):
            if (self.work / "run.json").exists():
                try:
                    self.query_status()
                except (OSError, ValueError, subprocess.SubprocessError) as error:
                    self.tally.fault("of_the_watch", f"{type(error).__name__}: {error}")

    def end(self) -> None:
        """Stop polling."""
        self.ended.set()
        self.join(2 * ANSWER_LIMIT_S)

    def query_status(self) -> dict[str, str]:
        """Query the status once and check the answer; return the state of each node."""
        kills = len(self.cluster.killed_at)
        before = moment(self.work, self.ledger)
        began = time.monotonic()
        command = [sys.executable, "-m", "hala_hpc.status", f"work={self.work}", "format=json"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=ANSWER_LIMIT_S
        )
        took_s = time.monotonic() - began
        after = moment(self.work, self.ledger)
        if done.returncode:
            text = f"{self.work.name}: code {done.returncode}: {done.stderr[-600:]}"
            self.tally.fault("status_ended", text)
            return {}
        # stderr reports that the scheduler gave no answer; then only the disk can be compared.
        blind = bool(done.stderr.strip()) or len(self.cluster.killed_at) > kills
        nodes = json.loads(done.stdout)["nodes"]
        with self.tally.lock:
            self.tally.slowest_status_s = max(self.tally.slowest_status_s, round(took_s, 1))
            self.tally.statuses["answers"] += 1
            self.tally.statuses["blind"] += blind
            self.tally.statuses.update(node["state"] for node in nodes)
        for reported in nodes:
            name = reported["name"]
            if name in before and name in after:
                wrong = what_is_wrong(reported, before[name], after[name], blind)
                if wrong:
                    self.record_wrong_status(name, wrong, reported, (before[name], after[name]))
        return {node["name"]: node["state"] for node in nodes}

    def record_wrong_status(
        self,
        name: str,
        wrong: str,
        reported: dict[str, Any],
        moments: tuple[NodeMoment, NodeMoment],
    ) -> None:
        """Record a wrong answer with both observations."""
        self.tally.fault("wrong_status", f"{self.work.name} {name}: {wrong}")
        print_progress(f"  reported {reported}")
        for one in moments:
            print_progress(f"  observed {one}")
