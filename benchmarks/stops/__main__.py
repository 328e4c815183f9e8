"""Stop a fine-tuning on two nodes of a real SLURM repeatedly, in every way.

`python -m benchmarks.stops --stops 60 --saves 40 [--seed 1]` runs tiny trainings with ZeRO-2 and
ZeRO-3 and stops each several times: SIGTERM with up to three seconds between the ranks,
preemption, the end of the time limit, SIGKILL of a rank and of a supervisor; and SIGKILL at
random times while a checkpoint is saved. A training waits for its stop after some step, so none
ends before that, however fast the machine is. Each then runs to its end, and its weights are
compared with those of an undisturbed one. Needs what `slurm/minislurm` needs. Prints JSON as its
last line. Exits with 1 if a job hung, resumed from an incomplete checkpoint, lost more than one
checkpoint interval, or ended with other weights, or if a kind of stop could not be made.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from benchmarks.stops.campaign import StopPlan, calm_weights, stop_all, summary
from benchmarks.stops.node import ROOT, StopNode


def main() -> int:
    """Stop, report, and return exit code 1 if there was a fault."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stops", type=int, default=60)
    parser.add_argument("--saves", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began, planned = time.monotonic(), StopPlan(given.stops, given.saves)
    base = Path(tempfile.mkdtemp(prefix="hala-stops-"))
    slurm = Path(tempfile.mkdtemp(prefix="minislurm-"))
    minislurm = [sys.executable, str(ROOT / "slurm" / "minislurm")]
    try:
        subprocess.run([*minislurm, "up", "--folder", str(slurm)], check=True)
        os.environ["SLURM_CONF"] = str(slurm / "slurm.conf")
        nodes = {stage: StopNode(base, stage, planned.shape) for stage in planned.stages}
        tally = stop_all(nodes, calm_weights(nodes), planned, Random(given.seed))
    finally:
        subprocess.run([*minislurm, "down", "--folder", str(slurm)], check=False)
        shutil.rmtree(slurm, ignore_errors=True)
    report = summary(tally, planned, began)
    if report["good"]:
        shutil.rmtree(base)
    else:
        print(f"the folders of the trainings are in {base}")
    print(json.dumps(report, ensure_ascii=False))
    return 0 if report["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
