"""Workers that are preempted repeatedly: the run must end as if undisturbed.

`python -m benchmarks.preemptions --cycles 10 [--track linuxproc]` starts a real SLURM for each kind
of preemption: GraceTime 0 and 20 s, `preempt_send_user_signal` set or not, under
`proctrack/linuxproc` and `proctrack/cgroup`. In each, a job of another partition preempts two
workers of a translation with a stand-in for the engine until they have returned so many times. They
are requeued, or submitted again by the gate if they ended themselves at the signal. Prints JSON as
its last line. Exits with 1 if a run needed a manual intervention, failed, or has other rows.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path

from benchmarks.common.own_slurm import ROOT, own_slurm, read_command_output, wait_for_empty_queue
from benchmarks.common.rounds import repeat_until
from benchmarks.common.standin_run import StandInRun
from benchmarks.common.waiting import wait_until
from hala_hpc.core.artifact import Artifact
from hala_hpc.jobs.attempt_records import (
    AttemptName,
    attempt_ends,
    attempt_names,
    newest_attempt,
)

#: Seconds until a preempted worker is back: GraceTime, KillWait, the delay of a requeue.
BACK_S = 240
#: Timeout in seconds of a command, and of the run without further preemptions.
END_LIMIT_S = 900
#: Answers of an attempt before it waits for its preemption: the benchmark decides the end.
HOLD_AFTER = 60
USER_SIGNAL = "SlurmctldParameters=preempt_send_user_signal"
#: The nodes of the two workers; gates and other jobs run elsewhere.
NODES = "node[3-4]"


@dataclass(frozen=True)
class Site:
    """A kind of preemption of a cluster."""

    track: str
    grace_s: int
    user_signal: bool

    @property
    def config(self) -> str:
        """Lines of its slurm.conf."""
        lines = [
            f"PartitionName=weak Nodes={NODES} PriorityTier=1 PreemptMode=REQUEUE "
            f"GraceTime={self.grace_s}"
        ]
        return "\n".join([*lines, USER_SIGNAL] if self.user_signal else lines)


@dataclass
class Outcome:
    """The result of one run."""

    site: str
    requeued: int = 0
    resubmitted: int = 0
    """Rounds after the first."""
    false_failures: list[str] = field(default_factory=list)
    complete: bool = False
    too_few: str = ""
    """Why there were fewer returns than required."""
    seconds: float = 0.0


class PreemptedRun:
    """A run on a cluster that is preempted."""

    def __init__(self, base: Path, rows: int) -> None:
        self.run = StandInRun(base, rows, 8, 2, max_num_seqs=1, step_s=0.05)
        self.work = base / "work"

    def start(self) -> None:
        """Submit everything, and wait until both workers run."""
        self.run.write_inputs()
        local = self.run.launcher("local", "")
        self.launch("english", local)
        options = 'partition = "weak"\nexclusive = "true"'
        self.launch("arabic", self.run.launcher("weak", options, HOLD_AFTER))

    def launch(self, stage: str, launcher: str) -> None:
        """Run a launch. Raises: CalledProcessError."""
        command = self.run.command("work", stage, launcher)
        subprocess.run(command, check=True, cwd=ROOT, timeout=END_LIMIT_S)

    @property
    def node(self) -> Path:
        """Folder of the translation."""
        return next(self.work.glob("arabic-*"))

    def is_over(self) -> bool:
        """Whether the run is done or has failed."""
        return (self.node / "summary.json").exists() or (self.node / "failure.json").exists()

    def at_work(self) -> set[str]:
        """Return the running attempts that have translated something."""
        files = (self.node / "progress").glob("*-0000.json")
        entries = [json.loads(path.read_text()) for path in files]
        fresh = [w for w in entries if not w.get("ended") and w.get("rows", 0) > 0]
        return {w["attempt"] for w in fresh}

    def preempt(self) -> None:
        """Take both nodes for a moment, after the remaining workers have done something."""
        self.wait_for(lambda: self.is_over() or (self.has_jobs() and self.at_work()), "work")
        if self.is_over():
            return
        before = self.at_work()
        strong = ["--partition=high", "--exclusive", f"--nodelist={NODES}", "--nodes=2"]
        command = ["sbatch", "--wait", *strong, "--output=/dev/null", "--wrap=sleep 1"]
        subprocess.run(command, check=True, capture_output=True, timeout=END_LIMIT_S)
        self.wait_for(lambda: self.is_over() or self.at_work() - before, "another attempt at work")

    def has_jobs(self) -> bool:
        """Whether a worker of this run has its node now."""
        return bool(
            read_command_output("squeue", "--noheader", "--partition=weak", "--states=RUNNING")
        )

    def wait_for(self, condition: Callable[[], object], what: str, limit_s: float = BACK_S) -> None:
        """Wait until a condition is true. Raises: TimeoutError, with the queue."""
        wait_until(condition, what, limit_s, 0.5, state=lambda: read_command_output("squeue"))


def returns(run: PreemptedRun) -> int:
    """Count the returns of workers."""
    return requeues(run) + rounds_after_first(run)


def rounds_after_first(run: PreemptedRun) -> int:
    """Count the rounds that the gate submitted after the first."""
    return Artifact(run.node).last_round() - 1


def requeues(run: PreemptedRun) -> int:
    """Count the requeues by SLURM: the largest restart count in the names of its attempts."""
    max_restarts: Counter[tuple[int, str]] = Counter()
    for name in attempt_names(Artifact(run.node)) | newest_attempts(run):
        key = (name.worker, name.job)
        max_restarts[key] = max(max_restarts[key], name.restarts)
    return max_restarts.total()


def newest_attempts(run: PreemptedRun) -> set[AttemptName]:
    """Return the newest attempt of each worker."""
    artifact = Artifact(run.node)
    newest = artifact.newest_round()
    found = (newest_attempt(artifact, worker) for worker in range(newest.workers if newest else 0))
    return {name for name in found if name}


def try_site(site: Site, cycles: int) -> Outcome:
    """Run once on one cluster."""
    signal = "signal" if site.user_signal else "no signal"
    outcome = Outcome(f"{site.track}, grace {site.grace_s} s, {signal}")
    began = time.monotonic()
    arguments = ["--proctrack", site.track]
    with own_slurm(site.config, (), *arguments), tempfile.TemporaryDirectory() as base:
        # More rows than two workers can do in all their attempts before they wait.
        run = PreemptedRun(Path(base), rows=(cycles + 5) * HOLD_AFTER)
        run.start()
        try:
            repeat_until(cycles, lambda: returns(run), run.preempt, "returns of workers")
        except RuntimeError as error:
            outcome.too_few = str(error)
        run.run.release_file.touch()
        run.wait_for(run.is_over, "the end of the run", END_LIMIT_S)
        # The gate itself may still be running.
        wait_for_empty_queue()
        summary = run.node / "summary.json"
        rows = json.loads(summary.read_text())["rows_out"] if summary.exists() else 0
        outcome.complete = rows == run.run.rows
        outcome.requeued = requeues(run)
        outcome.resubmitted = rounds_after_first(run)
        ends = [end for end in attempt_ends(Artifact(run.node)) if end.has_failed]
        outcome.false_failures = [end.describe() for end in ends]
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def main() -> None:
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=10, help="returns on each cluster")
    parser.add_argument("--track", choices=["linuxproc", "cgroup"], action="append")
    parser.add_argument("--grace", type=int, action="append", help="GraceTime, in seconds")
    parser.add_argument("--signal", choices=["yes", "no"], action="append", help="user signal")
    args = parser.parse_args()
    tracks, graces = args.track or ["linuxproc", "cgroup"], args.grace or [0, 20]
    outcomes = []
    signals = args.signal or ["no", "yes"]
    for track, grace_s, signal in product(tracks, graces, signals):
        outcomes.append(try_site(Site(track, grace_s, signal == "yes"), args.cycles))
        print(outcomes[-1], file=sys.stderr, flush=True)
    good = all(
        one.complete and not one.false_failures and one.requeued + one.resubmitted >= args.cycles
        for one in outcomes
    )
    cycles = sum(one.requeued + one.resubmitted for one in outcomes)
    print(json.dumps({"cycles": cycles, "good": good, "sites": [asdict(o) for o in outcomes]}))
    sys.exit(not good)


if __name__ == "__main__":
    main()
