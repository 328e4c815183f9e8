"""Chaos benchmark: injects faults into many short runs on a real SLURM, gates included.

`python -m benchmarks.chaos --minutes 60 [--seed 1] [--at-once 2]` starts its own SLURM and launches
a small pipeline repeatedly, two runs at a time. Processes of workers, gates and launches are killed
and frozen. Jobs are cancelled, requeued and preempted. Nodes are drained and set down. The
controller is killed. `status` is polled all the time. Every answer, every stop and every finished
run is compared with squeue, scontrol, /proc and the files.

Prints JSON as its last line. Exits with 1 if a row was lost, duplicated, torn or changed, if an
answer of `status` was wrong, or if a run needed a relaunch for an unexpected reason. Expected
reasons are a cancelled job, an accepted job that the controller forgot, and rounds without
progress. The folders of failed runs are not removed.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random

from benchmarks.chaos.caretaker import Caretaker
from benchmarks.chaos.cluster import HOSTS, Cluster
from benchmarks.chaos.pipeline import Pipeline
from benchmarks.chaos.run import ChaosRun, Surroundings
from benchmarks.chaos.tally import Tally, print_progress
from benchmarks.common.machine import machine
from benchmarks.common.own_slurm import own_slurm

CALM, CALM_LIMIT_S = "calm", 300


def main() -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=60, help="of injected faults")
    parser.add_argument("--seed", type=int, default=1, help="seed of targets, faults and pauses")
    parser.add_argument("--at-once", type=int, default=2, help="number of concurrent runs")
    given = parser.parse_args()
    base, tally = Path(tempfile.mkdtemp(prefix="hala-chaos-")), Tally()
    began_s = time.monotonic()
    with own_slurm() as cluster:
        pipeline = Pipeline(base)
        calm = pipeline.launch(CALM, 1, "local")
        if calm.process.wait(CALM_LIMIT_S):
            sys.exit(f"the undisturbed run failed: {calm.output()}")
        ends_at_s = time.monotonic() + 60 * given.minutes
        whole = Cluster(cluster, tally)
        around = Surroundings(pipeline, whole, Caretaker(whole, tally), tally, CALM, ends_at_s)
        lanes = [
            threading.Thread(target=go, args=(lane, around, given.seed))
            for lane in range(given.max_running)
        ]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        if tally.faults:
            keep_logs(cluster, base)
    result = tally.values() | {
        "seed": given.seed,
        "seconds": round(time.monotonic() - began_s),
        "machine": machine(),
    }
    if result["good"]:
        shutil.rmtree(base)
    else:
        print_progress(f"the folders of failed runs are in {base}")
    print(json.dumps(result, ensure_ascii=False))
    return 0 if result["good"] else 1


def go(lane: int, around: Surroundings, seed: int) -> None:
    """Run one run after the other until the time is over; folders of good runs are removed."""
    number = 0
    while time.monotonic() < around.ends_at_s:
        name = f"run{lane}-{number}"
        number += 1
        run = ChaosRun(name, around, Random(f"{seed}/{lane}/{number}"))
        try:
            is_good = run.run()
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            around.tally.fault("of_the_campaign", f"{name}: {type(error).__name__}: {error}")
            is_good = False
            run.give_up()
            for host in HOSTS:
                around.cluster.bring_back(host)
        if is_good:
            remove(around.pipeline.base, name)


def keep_logs(cluster: Path, base: Path) -> None:
    """Copy the logs of SLURM's daemons to the folders of failed runs: their folder is removed."""
    (base / "slurm").mkdir()
    for path in cluster.glob("*.log"):
        shutil.copy(path, base / "slurm" / path.name)


def remove(base: Path, name: str) -> None:
    """Remove the work folder of a run and the output of its launches."""
    shutil.rmtree(base / name)
    for path in base.glob(f"{name}-launch*"):
        path.unlink()


if __name__ == "__main__":
    sys.exit(main())
