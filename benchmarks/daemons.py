"""A run whose scheduler falls apart around it: the output must be that of a clean run.

`python -m benchmarks.daemons` starts a real SLURM and runs a translation with a stand-in for the
engine: slurmdbd is down from the start to the end; slurmctld is killed while workers run, and comes
back half a minute later; then the slurmd of a worker's node is killed, while the worker itself
lives on there and goes on writing. `status` is asked all the time and held against what the disk
says. Prints JSON as its last line; leaves with 1 when the run needed a hand, the output differs,
or `status` was wrong.
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
    answer,
    end,
    own_slurm,
    restart_controller,
    start_controller,
    wait_for_empty_queue,
)
from benchmarks.common.standin_run import StandInRun
from benchmarks.common.waiting import WAIT_S, wait_until

AWAY_S = 30
LIMIT_S = 900
#: Answers of a worker before it waits until all has been broken: nine of ten that it has to give.
HOLD_AFTER = 1800


@dataclass
class Told:
    """What happened, and what `status` said meanwhile."""

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
        """Whether nobody could tell from the result."""
        return (
            self.complete
            and self.same_output
            and self.zombie_outlived_its_slurmd
            and not self.wrong
        )


class Watched:
    """A run on a cluster, and what `status` tells of it."""

    def __init__(self, base: Path, told: Told) -> None:
        self.run = StandInRun(base, 4000, 20, 2, max_num_seqs=1, step_s=0.05)
        self.work, self.told = base / "work", told

    @property
    def node(self) -> Path:
        """Folder of the translation."""
        return next(self.work.glob("arabic-*"))

    def done(self) -> int:
        """Units that have a mark."""
        return len(list((self.node / "done").glob("*.json")))

    def ask(self) -> None:
        """Ask for the state of the run, and hold it against the disk before and after."""
        before, is_done = self.done(), (self.node / "summary.json").exists()
        command = [sys.executable, "-m", "hala_hpc.status", f"work={self.work}", "format=json"]
        began = time.monotonic()
        asked = subprocess.run(
            command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S
        )
        took_s = time.monotonic() - began
        self.told.longest_status_s = max(self.told.longest_status_s, round(took_s, 1))
        if asked.returncode:
            self.told.wrong.append(f"status ended with {asked.returncode}: {asked.stderr}")
            return
        (seen,) = [n for n in json.loads(asked.stdout)["nodes"] if n["name"] == "arabic"]
        self.told.states[seen["state"]] += 1
        self.compare(seen, before, is_done)

    def compare(self, seen: dict[str, Any], before: int, was_done: bool) -> None:
        """One answer against what the marks say."""
        if not before <= seen["units_done"] <= self.done():
            self.told.wrong.append(f"{seen['units_done']} units, on the disk {before}")
        is_done = (self.node / "summary.json").exists()
        if (seen["state"] == "done") not in {was_done, is_done}:
            self.told.wrong.append(f"state {seen['state']}, the mark says {is_done}")
        if seen["state"] not in ("running", "waiting", "partial", "done"):
            self.told.wrong.append(f"state {seen['state']}: {seen['why']}")

    def wait(self, true: Callable[[], object], what: str) -> None:
        """Ask again and again until something is so. Raises TimeoutError."""

        def look() -> bool:
            if true():
                return True
            self.ask()
            return False

        wait_until(look, what, LIMIT_S, 1.0, state=lambda: answer("squeue"))


def launch(run: StandInRun, work: str, stage: str, launcher: str) -> None:
    """Give the line of a launch. Raises CalledProcessError."""
    line = run.command(work, stage, launcher)
    subprocess.run(line, check=True, cwd=ROOT, stdout=sys.stderr, timeout=LIMIT_S)


def output_of(node: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """The rows of every file of the output; how they are grouped in it tells of commits only."""
    from pyarrow import parquet

    output = node / "output"
    files = sorted(output.rglob("*.parquet"))
    return [(str(p.relative_to(output)), parquet.read_table(p).to_pylist()) for p in files]


def break_everything(watched: Watched, cluster: Path) -> None:
    """The three faults, one after the other, while the run goes on."""
    run, told = watched.run, watched.told
    launch(run, "work", "arabic", run.launcher("site", 'exclusive = "true"', HOLD_AFTER))
    say("submitted")
    watched.wait(lambda: watched.done() >= 1, "the first unit")
    done = watched.done()
    end(cluster, "slurmctld", signal.SIGKILL)
    until_s = time.monotonic() + AWAY_S
    watched.wait(lambda: time.monotonic() > until_s, "half a minute without a controller")
    start_controller(cluster)
    say(f"the controller is back; {watched.done()} units are done")
    watched.wait(lambda: watched.done() > done, "a unit made since the controller died")
    if (watched.node / "summary.json").exists():
        raise RuntimeError("the run was over before its node could be lost")
    rows = answer("squeue", "--noheader", "--states=RUNNING", "--format=%N|%j").splitlines()
    host = next(row.split("|")[0] for row in rows if row.split("|")[1].startswith("arabic"))
    told.hosts_of_zombie = host
    say(f"the slurmd of {host} ends")
    writers = workers_on(host)
    end(cluster, host, signal.SIGKILL)
    time.sleep(2)
    told.zombie_outlived_its_slurmd = bool(writers) and all(is_alive(pid) for pid in writers)
    run.word.touch()
    watched.wait((watched.node / "summary.json").exists, "the end of the run")
    watched.ask()
    for pid in writers:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def say(text: str) -> None:
    """Show how far this is."""
    print(f"{time.strftime('%T')} {text}", file=sys.stderr, flush=True)


def workers_on(host: str) -> list[int]:
    """Processes of the model code on a node of the cluster."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"hala_hpc.jobs.attempt" in words and f"SLURMD_NODENAME={host}".encode() in variables:
            found.append(int(process.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    return Path(f"/proc/{pid}").exists()


def main() -> None:
    """Command line of the benchmark."""
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    told, began = Told(), time.monotonic()
    with own_slurm() as cluster, tempfile.TemporaryDirectory() as base:
        watched = Watched(Path(base), told)
        watched.run.write_inputs()
        local = replace(watched.run, step_s=0).launcher("local", "")
        for work in ("work", "clean"):
            launch(watched.run, work, "english", local)
        launch(watched.run, "clean", "arabic", local)
        # A controller that never ended in peace has no state to start from without slurmdbd.
        restart_controller(cluster)
        end(cluster, "slurmdbd")
        break_everything(watched, cluster)
        told.complete = (watched.node / "summary.json").exists()
        (clean,) = (Path(base) / "clean").glob("arabic-*")
        told.same_output = output_of(watched.node) == output_of(clean) != []
        told.rounds = len(list((watched.node / "rounds").glob("*.json")))
        subprocess.run(["scancel", f"--user={os.getuid()}"], check=False, timeout=WAIT_S)
        wait_for_empty_queue()
    told.seconds = round(time.monotonic() - began, 1)
    print(json.dumps({**vars(told), "good": told.good}))
    sys.exit(not told.good)


if __name__ == "__main__":
    main()
