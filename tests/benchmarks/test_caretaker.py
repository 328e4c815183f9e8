"""What the campaign of faults does by hand for its cluster, on stand-ins for SLURM's commands."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from fake_slurm import FakeSlurm, on_path

from benchmarks.chaos import caretaker, ghosts
from benchmarks.chaos import run as chaos_run
from benchmarks.chaos.caretaker import MIN_UNAVAILABLE_CHECKS, Caretaker
from benchmarks.chaos.cluster import Cluster
from benchmarks.chaos.ghosts import GHOST_S, Ghosts
from benchmarks.chaos.pipeline import Pipeline
from benchmarks.chaos.queued_jobs import QueuedJob, query_queue
from benchmarks.chaos.run import ChaosRun, Surroundings
from benchmarks.chaos.tally import Tally
from benchmarks.common.waiting import wait_until

#: Maximum lifetime in seconds of the process that stands in for all daemons.
DAEMON_LIVES_S = "600"


class TwoNodes(FakeSlurm):
    """node1 and node2 with a state each, the orders that were given, and a queue."""

    def __init__(self, folder: Path, daemon: int) -> None:
        super().__init__(folder)
        self.living = daemon
        self.queue, self.orders = folder / "queue", folder / "orders"
        self.queue.write_text("")
        self.orders.write_text("")
        self.add("sinfo", f"for n in node1 node2; do cat {folder}/$n; cat {folder}/$n; done")
        # What is released or cancelled leaves the queue at once.
        empties = f'case "$*" in update*) ;; *) : > {folder}/queue; : > {folder}/held;; esac'
        self.add("scontrol", f'echo "$*" >> {self.orders}; {empties}')
        self.add("scancel", f'echo "cancel $*" >> {self.orders}; {empties}')
        self.add("slurmd", f'echo "slurmd $*" >> {self.orders}; echo $PPID > {folder}/$2.pid')
        self.held = folder / "held"
        self.held.write_text("")
        self.add("squeue", f'case "$*" in *%r*) cat {self.held};; *) cat {self.queue};; esac')
        for host in ("node1", "node2"):
            self.put(host, "idle", "none")
            self.daemon(host, is_alive=True)
        self.daemon("slurmctld", is_alive=True)

    def put(self, host: str, state: str, reason: str) -> None:
        """Let sinfo show a state."""
        (self.folder / host).write_text(f"{host}|{state}|{reason}\n")

    def daemon(self, name: str, is_alive: bool) -> None:
        """Let a process of this name be there, or no process at all."""
        (self.folder / f"{name}.pid").write_text(f"{self.living if is_alive else 2**22 + 1}\n")

    def given(self) -> list[str]:
        """The orders so far."""
        return self.orders.read_text().splitlines()


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    """A cluster with nothing wrong, looked at without a pause."""
    monkeypatch.setattr(caretaker, "CARE_PAUSE_S", 0.0)
    program = tmp_path / "slurm-stand-in"
    shutil.copy("/bin/sleep", program)
    daemon = subprocess.Popen([program, DAEMON_LIVES_S])
    try:
        # It has its name a moment after it was started.
        name = Path(f"/proc/{daemon.pid}/comm")
        wait_until(lambda: name.read_text().startswith("slurm"), "the name of the stand-in")
        yield TwoNodes(on_path(tmp_path / "commands", monkeypatch), daemon.pid)
    finally:
        daemon.kill()
        daemon.wait()


@pytest.fixture
def care(nodes: TwoNodes) -> Caretaker:
    """One who looks after it."""
    tally = Tally()
    return Caretaker(Cluster(nodes.folder, tally), tally)


def test_a_node_that_is_left_drained_down_or_without_an_answer_is_resumed_and_counted_once(
    nodes: TwoNodes, care: Caretaker
) -> None:
    nodes.put("node1", "drained", "batch job complete failure")
    nodes.put("node2", "down*", "Not responding")
    care.maintain()
    assert nodes.given() == [], "it may come back by itself"
    for _ in range(MIN_UNAVAILABLE_CHECKS):
        care.maintain()
    resumed = [f"update nodename={host} state=resume" for host in ("node1", "node2")]
    assert nodes.given() == resumed * 2, "again, as the first order did not help"
    assert care.tally.nodes_resumed == 2
    nodes.put("node1", "mixed-", "none")
    nodes.put("node2", "idle*", "none")
    care.maintain()
    assert len(nodes.given()) == 4, "both take jobs"
    nodes.put("node1", "draining", "batch job complete failure")
    for _ in range(MIN_UNAVAILABLE_CHECKS):
        care.maintain()
    assert care.tally.nodes_resumed == 3
    assert care.tally.slurmds_restarted == 0


def test_a_missing_slurmd_is_restarted_at_the_first_check(nodes: TwoNodes, care: Caretaker) -> None:
    nodes.put("node2", "down*", "Not responding")
    nodes.daemon("node2", is_alive=False)
    care.maintain()
    assert nodes.given() == [f"slurmd -N node2 -f {nodes.folder}/slurm.conf"]
    assert (care.tally.slurmds_restarted, care.tally.nodes_resumed) == (1, 0)


def test_what_an_injected_fault_removed_is_left_to_it(nodes: TwoNodes, care: Caretaker) -> None:
    nodes.put("node1", "drained", "chaos")
    with care.cluster.alone() as mine:
        assert mine
        for _ in range(MIN_UNAVAILABLE_CHECKS + 1):
            care.maintain()
    assert nodes.given() == []


def test_what_slurm_holds_is_released_and_counted(nodes: TwoNodes, care: Caretaker) -> None:
    reasons = ("launch failed requeued held", "JobHoldMaxRequeue", "Resources", "Dependency")
    rows = [f"{12 + number}|{reason}" for number, reason in enumerate(reasons)]
    nodes.held.write_text("\n".join(rows))
    care.maintain()
    assert nodes.given() == ["release 12,13"]
    assert care.tally.releases == 2


def test_the_queue_has_the_job_id_of_the_processes_of_an_array_task(
    nodes: TwoNodes, tmp_path: Path
) -> None:
    row = "12_1|12|14|RUNNING|arabic-0123456789ab-00000000|node1|2026-11-30T12:00:00"
    nodes.queue.write_text(f"{row}|{tmp_path}/arabic-0123456789ab/logs\n{row}|/elsewhere\n")
    (job,) = query_queue(tmp_path) or []
    assert (job.element, job.number, job.node) == ("12_1", "14", "arabic")


def test_a_job_that_runs_without_a_process_is_a_ghost_though_others_of_its_run_are_at_work() -> (
    None
):
    start, folder = "2026-11-30T12:00:00", "/w/logs"
    name = "again-0123456789ab-00000000"
    lost = QueuedJob("12", "12", "12", "RUNNING", name, "node2", start, folder)
    alive = replace(lost, element="13_1", id="13", number="15")
    waits = replace(lost, element="16", id="16", number="16", state="PENDING")
    ghosts, queue = Ghosts(), [lost, alive, waits]
    assert ghosts.find(queue, {"15"}, 1000.0) == []
    assert ghosts.find(queue, {"15"}, 1000.0 + GHOST_S) == []
    late_s = 1001.0 + GHOST_S
    assert ghosts.find(queue, {"12", "15"}, late_s) == [], "its process is there"
    assert ghosts.find(queue, {"15"}, late_s) == []
    requeued = [replace(lost, start="2026-11-30T12:03:00"), alive, waits]
    assert ghosts.find(requeued, {"15"}, late_s + GHOST_S + 1) == [], "it was requeued"
    later_s = late_s + 2 * GHOST_S + 2
    assert ghosts.find(requeued, {"15"}, later_s) == requeued[:1]
    assert ghosts.find(requeued, {"15"}, later_s + 1) == [], "it is returned once"
    assert ghosts.find(requeued, {"15"}, later_s + GHOST_S + 2) == requeued[:1], "and again later"


def a_run(folder: Path, care: Caretaker) -> ChaosRun:
    """A run of the campaign that was not launched."""
    folder.mkdir()
    shared = (Pipeline(folder), care.cluster, care, care.tally, "calm", 0.0)
    return ChaosRun("run0", Surroundings(*shared), Random(1))


def row_of(run: ChaosRun, state: str) -> str:
    """A job of a run, as the campaign asks squeue for it."""
    name, start = "again-0123456789ab-00000000", "2026-11-30T12:00:00"
    return f"12|12|12|{state}|{name}|node1|{start}|{run.work}/again-0123456789ab/logs"


def test_a_ghost_at_the_end_of_a_run_is_cancelled_and_counted(
    nodes: TwoNodes, care: Caretaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ghosts, "GHOST_S", 0.0)
    run = a_run(tmp_path / "base", care)
    nodes.queue.write_text(row_of(run, "RUNNING"))
    run.wait_until_gone()
    assert nodes.given() == ["cancel 12"]
    assert (care.tally.ghosts, run.ledger.cancelled) == (1, {"again"})


def test_what_slurm_holds_at_the_end_of_a_run_is_released(
    nodes: TwoNodes, care: Caretaker, tmp_path: Path
) -> None:
    run = a_run(tmp_path / "base", care)
    nodes.queue.write_text(row_of(run, "PENDING"))
    nodes.held.write_text("12|launch failed requeued held")
    run.wait_until_gone()
    assert nodes.given() == ["release 12"]


def test_a_controller_that_is_away_for_a_moment_is_no_job_that_is_left(
    nodes: TwoNodes, care: Caretaker, tmp_path: Path
) -> None:
    run = a_run(tmp_path / "base", care)
    away = nodes.folder / "away"
    away.touch()
    nodes.add("squeue", f'if [ -e {away} ]; then rm {away}; exit 1; fi; cat "{nodes.queue}"')
    assert not run.observe().is_empty
    away.touch()
    assert run.observe_with_queue().is_empty
    nodes.queue.write_text(row_of(run, "PENDING"))
    assert not run.observe_with_queue().is_empty


def test_a_run_that_never_settles_ends_with_the_queue(
    nodes: TwoNodes, care: Caretaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chaos_run, "GONE_S", 1.0)
    run = a_run(tmp_path / "base", care)
    nodes.queue.write_text(row_of(run, "PENDING"))
    with pytest.raises(TimeoutError, match="again-0123456789ab"):
        run.wait_until_gone()
