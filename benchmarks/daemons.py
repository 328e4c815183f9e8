"""A run during failures of SLURM's daemons: the output must equal that of a clean run.

`python -m benchmarks.daemons` starts a real SLURM and runs a translation with a stand-in for the
engine. slurmdbd is down from start to end. slurmctld is killed while workers run, and is restarted
half a minute later. Then the slurmd of a worker's node is killed, while the worker itself continues
to write. `status` is polled all the time and compared with the disk. Prints JSON as its last line.
Exits with 1 if the run needed a manual intervention, the output differs, or `status` was wrong.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.common.own_slurm import (
    ROOT,
    own_slurm,
    read_command_output,
    restart_controller,
    start_controller,
    stop_daemon,
    wait_for_empty_queue,
)
from benchmarks.common.standin_run import StandInRun
from benchmarks.common.waiting import WAIT_S, wait_until

AWAY_S = 30
LIMIT_S = 900
#: Answers of a worker before it waits for the last fault: nine of ten that it has to give.
HOLD_AFTER = 1800


@dataclass
class Report:
    """Result of the benchmark, and the answers of `status`."""

    complete: bool = False
    same_output: bool = False
    rounds: int = 0
    hosts_of_zombie: str = ""
    zombie_outlived_its_slurmd: bool = False
    states: Counter[str] = field(default_factory=Counter)
    longest_status_s: float = 0.0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether the result shows no effect of the faults."""
        return (
            self.complete
            and self.same_output
            and self.zombie_outlived_its_slurmd
            and not self.wrong
        )


class Watched:
    """A run on a cluster whose `status` is checked."""

    def __init__(self, base: Path, report: Report) -> None:
        self.run = StandInRun(base, 4000, 20, 2, max_num_seqs=1, step_s=0.05)
        self.work, self.report = base / "work", report

    @property
    def node(self) -> Path:
        """Folder of the translation."""
        return next(self.work.glob("arabic-*"))

    def done(self) -> int:
        """Count the units with a marker."""
        return len(list((self.node / "done").glob("*.json")))

    def query_status(self) -> None:
        """Query the status of the run, and compare it with the disk before and after."""
        before, is_done = self.done(), (self.node / "summary.json").exists()
        command = [sys.executable, "-m", "hala_hpc.status", f"work={self.work}", "format=json"]
        began = time.monotonic()
        done = subprocess.run(
            command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S
        )
        took_s = time.monotonic() - began
        self.report.longest_status_s = max(self.report.longest_status_s, round(took_s, 1))
        if done.returncode:
            self.report.wrong.append(f"status ended with {done.returncode}: {done.stderr}")
            return
        (node,) = [n for n in json.loads(done.stdout)["nodes"] if n["name"] == "arabic"]
        self.report.states[node["state"]] += 1
        self.compare(node, before, is_done)

    def compare(self, node: dict[str, Any], before: int, was_done: bool) -> None:
        """Compare one answer with the markers."""
        if not before <= node["units_done"] <= self.done():
            self.report.wrong.append(f"{node['units_done']} units, on the disk {before}")
        is_done = (self.node / "summary.json").exists()
        if (node["state"] == "done") not in {was_done, is_done}:
            self.report.wrong.append(f"state {node['state']}, summary exists: {is_done}")
        if node["state"] not in ("running", "waiting", "partial", "done"):
            self.report.wrong.append(f"state {node['state']}: {node['why']}")

    def wait(self, true: Callable[[], object], what: str) -> None:
        """Poll until a condition is true. Raises: TimeoutError."""

        def check() -> bool:
            if true():
                return True
            self.query_status()
            return False

        wait_until(check, what, LIMIT_S, 1.0, state=lambda: read_command_output("squeue"))


def launch(run: StandInRun, work: str, stage: str, launcher: str) -> None:
    """Run a launch. Raises: CalledProcessError."""
    command = run.command(work, stage, launcher)
    subprocess.run(command, check=True, cwd=ROOT, stdout=sys.stderr, timeout=LIMIT_S)


def output_of(node: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the rows of every output file; their grouping only shows the commits."""
    from pyarrow import parquet

    output = node / "output"
    files = sorted(output.rglob("*.parquet"))
    return [(str(p.relative_to(output)), parquet.read_table(p).to_pylist()) for p in files]


def break_everything(watched: Watched, cluster: Path) -> None:
    """Inject the three faults, one after the other, during the run."""
    run, report = watched.run, watched.report
    launch(run, "work", "arabic", run.launcher("site", 'exclusive = "true"', HOLD_AFTER))
    print_progress("submitted")
    watched.wait(lambda: watched.done() >= 1, "the first unit")
    done = watched.done()
    stop_daemon(cluster, "slurmctld", signal.SIGKILL)
    until_s = time.monotonic() + AWAY_S
    watched.wait(lambda: time.monotonic() > until_s, "half a minute without a controller")
    start_controller(cluster)
    print_progress(f"the controller is back; {watched.done()} units are done")
    watched.wait(lambda: watched.done() > done, "a unit made since the controller died")
    if (watched.node / "summary.json").exists():
        raise RuntimeError("the run was over before its node could be lost")
    rows = read_command_output(
        "squeue", "--noheader", "--states=RUNNING", "--format=%N|%j"
    ).splitlines()
    host = next(row.split("|")[0] for row in rows if row.split("|")[1].startswith("arabic"))
    report.hosts_of_zombie = host
    print_progress(f"the slurmd of {host} ends")
    writers = workers_on(host)
    stop_daemon(cluster, host, signal.SIGKILL)
    time.sleep(2)
    report.zombie_outlived_its_slurmd = bool(writers) and all(is_alive(pid) for pid in writers)
    run.release_file.touch()
    watched.wait((watched.node / "summary.json").exists, "the end of the run")
    watched.query_status()
    for pid in writers:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def print_progress(text: str) -> None:
    """Print the progress."""
    print(f"{time.strftime('%T')} {text}", file=sys.stderr, flush=True)


def workers_on(host: str) -> list[int]:
    """Return the processes of the model code on a node of the cluster."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"hala_hpc.jobs.attempt" in command and f"SLURMD_NODENAME={host}".encode() in variables:
            found.append(int(process.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    return Path(f"/proc/{pid}").exists()


def main() -> None:
    """Command line of the benchmark."""
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    report, began = Report(), time.monotonic()
    with own_slurm() as cluster, tempfile.TemporaryDirectory() as base:
        watched = Watched(Path(base), report)
        watched.run.write_inputs()
        local = replace(watched.run, step_s=0).launcher("local", "")
        for work in ("work", "clean"):
            launch(watched.run, work, "english", local)
        launch(watched.run, "clean", "arabic", local)
        # A controller without a regular shutdown has no state to start from without slurmdbd.
        restart_controller(cluster)
        stop_daemon(cluster, "slurmdbd")
        break_everything(watched, cluster)
        report.complete = (watched.node / "summary.json").exists()
        (clean,) = (Path(base) / "clean").glob("arabic-*")
        report.same_output = output_of(watched.node) == output_of(clean) != []
        report.rounds = len(list((watched.node / "rounds").glob("*.json")))
        subprocess.run(["scancel", f"--user={os.getuid()}"], check=False, timeout=WAIT_S)
        wait_for_empty_queue()
    report.seconds = round(time.monotonic() - began, 1)
    print(json.dumps({**vars(report), "good": report.good}))
    sys.exit(not report.good)


if __name__ == "__main__":
    main()
