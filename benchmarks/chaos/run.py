"""One run of the pipeline with injected faults: launch, inject, relaunch if needed, check."""

import signal
import time
from dataclasses import dataclass
from random import Random

from benchmarks.chaos import queued_jobs, run_processes
from benchmarks.chaos.acts import FaultInjector, Injection
from benchmarks.chaos.caretaker import Caretaker
from benchmarks.chaos.cluster import Cluster
from benchmarks.chaos.ghosts import Ghosts
from benchmarks.chaos.ledger import Ledger, Sight
from benchmarks.chaos.node_folder import node_folders
from benchmarks.chaos.outcome import check
from benchmarks.chaos.pipeline import NODES, Launch, Pipeline
from benchmarks.chaos.run_processes import send
from benchmarks.chaos.status_watch import StatusWatch
from benchmarks.chaos.stops import UNEXPLAINED, StoppedRun
from benchmarks.chaos.tally import Tally, print_progress
from benchmarks.common.own_slurm import read_command_output
from benchmarks.common.waiting import wait_until

#: One of so many runs starts with two concurrent launches.
PAIR_EVERY = 3
#: Minimum and maximum number of faults of one run, and seconds between two.
INJECTIONS = (5, 12)
PAUSES_S = (0.1, 0.5, 2.0, 5.0, 9.0, 14.0)
#: Share of the polls of a running launch that inject a fault: small, to leave some for later.
AT_LAUNCH = 0.03
#: Share of the polls of a running gate that inject a fault before it is due.
AT_GATE = 0.1
POLL_INTERVAL_S = 0.3
#: A run hangs after so many seconds without a change; longer than any fault lasts.
HANG_S = 240.0
#: Maximum seconds of a launch and of a run.
LAUNCH_LIMIT_S, RUN_LIMIT_S = 300.0, 1500.0
#: Seconds after which a finished run has no job and no process left.
GONE_S = 300.0
#: Maximum number of launches of one run.
MAX_LAUNCHES = 25
#: Exit codes of a launch that mean: try again.
RETRY_CODES = (69, 75)


class Hangs(Exception):
    """A run without progress or without an end."""


@dataclass(frozen=True)
class Surroundings:
    """The objects that all runs of a campaign share."""

    pipeline: Pipeline
    cluster: Cluster
    caretaker: Caretaker
    tally: Tally
    calm: str
    """Name of the undisturbed run."""
    ends_at_s: float
    """Time after which no fault is injected, by the monotonic clock."""


class ChaosRun:
    """One run with injected faults."""

    def __init__(self, name: str, around: Surroundings, chance: Random) -> None:
        self.name, self.around, self.chance = name, around, chance
        self.work, self.tally = around.pipeline.work(name), around.tally
        self.ledger = Ledger()
        self.injector = FaultInjector(around.cluster, self.ledger, chance)
        self.launches: list[Launch] = []
        self.given, self.ended_launch_at_s = 0, float("-inf")
        self.began_s = self.changed_s = time.monotonic()
        self.last_state: object = None
        self.ghosts = Ghosts()

    def run(self) -> bool:
        """Run to the end with injected faults; return whether there was no fault of the product."""
        faults = self.tally.faults.total()
        watch = StatusWatch(self.work, self.around.cluster, self.ledger, self.tally)
        watch.start()
        try:
            self.give(2 if self.chance.randrange(PAIR_EVERY) == 0 else 1)
            self.go_through()
            self.injector.wait_for_undone()
            self.wait_until_gone()
            watch.end()
            self.check_end(watch)
        except (Hangs, TimeoutError) as error:
            self.tally.fault("hangs", f"{self.name}: {error}")
            self.give_up()
        finally:
            watch.end()
            self.injector.wait_for_undone()
        return self.tally.faults.total() == faults

    def give(self, max_running: int = 1) -> None:
        """Start one launch, or two concurrent ones."""
        if self.given > MAX_LAUNCHES:
            raise Hangs(f"{self.given} launches")
        self.ledger.begin()
        self.changed_s = time.monotonic()
        for _ in range(max_running):
            self.given += 1
            self.launches.append(self.around.pipeline.launch(self.name, self.given))

    def go_through(self) -> None:
        """Poll, inject faults and relaunch where that is allowed, until all nodes are done."""
        left = self.chance.randint(*INJECTIONS)
        next_s = time.monotonic() + self.chance.uniform(0.2, 3.0)
        while True:
            self.check_launches()
            sight = self.observe()
            if not self.launches and self.is_complete():
                return
            self.maintain(sight)
            now = time.monotonic()
            self.require_progress(now, sight)
            if not self.launches and sight.is_empty and self.is_stopped():
                self.go_on()
            elif left and now < self.around.ends_at_s and self.is_due(sight, next_s):
                left -= self.strike(sight)
                next_s = time.monotonic() + self.chance.choice(PAUSES_S)
            time.sleep(POLL_INTERVAL_S)

    def maintain(self, sight: Sight) -> None:
        """Do the administrator's work, and cancel jobs that have ended unknown to SLURM."""
        self.around.caretaker.maintain()
        at_work = set(sight.processes.jobs.values())
        if ghosts := self.ghosts.find(sight.queue or [], at_work, time.monotonic()):
            self.ledger.cancelled |= {job.node for job in ghosts}
            read_command_output("scancel", *(job.element for job in ghosts))
            with self.tally.lock:
                self.tally.ghosts += len(ghosts)
            print_progress(f"{self.name}: SLURM takes {ghosts} for running, but they have ended")

    def is_due(self, sight: Sight, next_s: float) -> bool:
        """Whether to inject a fault at this poll; short-lived targets are used at once."""
        is_time = time.monotonic() > next_s
        if sight.launches:
            return is_time and self.chance.random() < AT_LAUNCH
        if sight.launched_just_now and self.around.cluster.is_rested:
            return True
        has_gate = sight.running(is_gate=True) or sight.processes.of["gate"]
        return is_time or (bool(has_gate) and self.chance.random() < AT_GATE)

    def observe(self) -> Sight:
        """Return the current state of the run."""
        return Sight(
            queued_jobs.query_queue(self.work),
            run_processes.find_processes(self.work),
            [one.process.pid for one in self.launches if one.process.poll() is None],
            time.monotonic() - self.ended_launch_at_s < 2,
        )

    def observe_with_queue(self) -> Sight:
        """Return the state of the run when the controller responds; other runs kill it as well.

        Raises: TimeoutError.
        """
        sights: list[Sight] = []

        def has_queue() -> bool:
            sights.append(self.observe())
            return sights[-1].queue is not None

        wait_until(has_queue, "an answer of squeue", pause_s=0.5)
        return sights[-1]

    def check_launches(self) -> None:
        """Record how launches ended; relaunch if none of them succeeded."""
        if not self.launches or any(one.process.poll() is None for one in self.launches):
            return
        codes = [one.process.returncode for one in self.launches]
        self.ended_launch_at_s = self.changed_s = time.monotonic()
        for launch, code in zip(self.launches, codes, strict=True):
            if code not in (0, *RETRY_CODES) or "Traceback" in launch.output():
                self.tally.fault("launch", f"{self.name}: code {code}: {launch.output()[-800:]}")
        refused = [one.output() for one in self.launches]
        self.launches = []
        self.ledger.is_launching = False
        if 0 not in codes:
            with self.tally.lock:
                self.tally.refused_launches += 1
            print_progress(
                f"{self.name}: the launch must be tried again: {codes} {refused[-1][-300:]!r}"
            )
            time.sleep(2)
            self.give()

    def strike(self, sight: Sight) -> bool:
        """Inject the possible fault with the lowest count; return whether it was injected."""
        possible = self.injector.possible(sight)
        if not possible:
            return False
        with self.tally.lock:
            fewest = min(self.tally.acts[injection.kind] for injection in possible)
            chosen: Injection = self.chance.choice(
                [injection for injection in possible if self.tally.acts[injection.kind] == fewest]
            )
            self.tally.acts[chosen.kind] += 1
        description = chosen.strike()
        if not description:
            with self.tally.lock:
                self.tally.acts[chosen.kind] -= 1
            return False
        print_progress(f"{self.name}: {chosen.kind}: {description}")
        return True

    def is_complete(self) -> bool:
        """Whether every node has its summary."""
        nodes = node_folders(self.work)
        return all(name in nodes and nodes[name].is_done for name in NODES)

    def is_stopped(self) -> bool:
        """Whether nothing runs now and 3 s later."""
        time.sleep(3)
        return self.observe().is_empty and not self.is_complete()

    def go_on(self) -> None:
        """Find out why the run stopped, count it, and relaunch."""
        nodes = node_folders(self.work)
        stops = StoppedRun(nodes, self.ledger, self.around.cluster).stops()
        reasons = sorted({stop.reason for stop in stops}) or [UNEXPLAINED]
        for stop in stops:
            print_progress(
                f"{self.name}: {stop.node} stopped: {stop.reason}: {stop.message[:1500]}"
            )
            if stop.reason == UNEXPLAINED:
                self.tally.fault("stopped", f"{self.name} {stop.node}: {stop.message[:1500]}")
        with self.tally.lock:
            self.tally.relaunches["+".join(reasons)] += 1
        self.give()

    def require_progress(self, now: float, sight: Sight) -> None:
        """Check the progress. Raises: Hangs if nothing changes or a limit is exceeded."""
        nodes = node_folders(self.work)
        queue = None if sight.queue is None else {(j.element, j.state) for j in sight.queue}
        state = (
            [(n.count_markers(), n.list_state_files(), n.is_done) for n in nodes.values()],
            queue,
        )
        if state != self.last_state:
            self.last_state, self.changed_s = state, now
        if now - self.changed_s > (LAUNCH_LIMIT_S if self.launches else HANG_S):
            raise Hangs(f"nothing new in {now - self.changed_s:.0f} s; {self.describe()}")
        if now - self.began_s > RUN_LIMIT_S:
            raise Hangs(f"no end in {RUN_LIMIT_S:.0f} s; {self.describe()}")

    def describe(self) -> str:
        """Describe queue and processes of a run that hangs."""
        queue = read_command_output("squeue", "--array")
        return f"queue: {queue} processes: {run_processes.find_processes(self.work)}"

    def wait_until_gone(self) -> None:
        """Wait until nothing of the run is left. Raises: TimeoutError."""

        def is_gone() -> bool:
            sight = self.observe()
            self.maintain(sight)
            return sight.is_empty

        wait_until(is_gone, "nothing left of it", GONE_S, 0.5, self.describe)

    def check_end(self, watch: StatusWatch) -> None:
        """Check that status shows done, a relaunch has nothing to do, and the rows are right."""
        states = watch.query_status()
        if set(states.values()) != {"done"}:
            self.tally.fault("wrong_status", f"{self.name}: at its end {states}")
        self.given += 1
        last = self.around.pipeline.launch(self.name, self.given)
        self.launches.append(last)
        code = last.process.wait(LAUNCH_LIMIT_S)
        if code or not self.observe_with_queue().is_empty:
            self.tally.fault(
                "launch", f"{self.name}: at the end code {code}: {last.output()[-500:]}"
            )
        checked = check(self.work, self.around.pipeline.work(self.around.calm))
        with self.tally.lock:
            self.tally.runs += 1
            self.tally.rows.update(checked.rows)
        for kind, text in checked.faults:
            self.tally.fault(kind, f"{self.name}: {text}")
        print_progress(f"{self.name}: complete after {time.monotonic() - self.began_s:.0f} s")

    def give_up(self) -> None:
        """End what is left of the run."""
        for one in self.launches:
            if one.process.poll() is None:
                send(one.process.pid, signal.SIGKILL)
        ids = {job.id for job in queued_jobs.query_queue(self.work) or []}
        if ids:
            read_command_output("scancel", *sorted(ids))
