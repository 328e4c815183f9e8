"""Time of two workers, one of which is three times as fast as the other.

`python -m benchmarks.unequal [--rows 5000] [--units 128] [--slow-step-s 0.15]` runs the two as
processes with the stand-in, which sleeps for the duration of a step. Prints JSON as its last line.
The ideal is the time in which both together would do all rows without waiting for each other. Each
works at the speed that it had while it worked, from its own first answer on. Exits with 1 if a row
was lost or the ratio to the ideal is above 1.1.
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.rows_check import RowsCheck
from benchmarks.kills.kinds import END_LIMIT_S
from benchmarks.kills.node import KillNode, Shape
from hala_hpc.core.artifact import Artifact
from hala_hpc.jobs.attempt_records import AttemptName

#: Ratio of the speeds of the two workers.
TIMES = 3
MAX_RATIO = 1.1


@dataclass(frozen=True)
class Pace:
    """The work of one worker, from the log of answers."""

    answers: int
    first: float
    """Time of its first answer, in seconds since the epoch."""
    last: float

    @property
    def per_s(self) -> float:
        """Answers a second while it worked."""
        return self.answers / max(self.last - self.first, 1e-3)


def run(node: KillNode, artifact: Artifact) -> list[int]:
    """Run both workers to their end; return their exit codes, the slow one's first."""
    steps_s = (node.shape.step_s, node.shape.step_s / TIMES)
    jobs = [
        node.start("worker", artifact.folder, worker, HALA_STANDIN_STEP_S=str(step_s))
        for worker, step_s in enumerate(steps_s)
    ]
    # Twice the time that one of them would take for everything, and the start.
    limit_s = END_LIMIT_S + 2 * node.shape.seconds
    return [job.wait(limit_s) for job in jobs]


def paces(log: Path) -> list[Pace]:
    """Return the pace of each worker."""
    times: dict[str, list[float]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        process, time_s, _ = line.split(" ", 2)
        times.setdefault(process, []).append(float(time_s))
    return [Pace(len(found), min(found), max(found)) for found in times.values()]


def who_made(artifact: Artifact) -> dict[int, int]:
    """Return the worker that made each unit, from the markers."""
    markers = [artifact.marker(unit) for unit in artifact.done_units()]
    found = {marker.unit: AttemptName.parse(marker.attempt) for marker in markers if marker}
    return {unit: name.worker for unit, name in found.items() if name}


def collect_figures(node: KillNode, artifact: Artifact) -> dict[str, Any]:
    """Collect seconds, the ideal, and the units of each worker."""
    both = paces(node.log)
    makers = who_made(artifact)
    own = artifact.require_newest_round().assignment
    began = min(pace.first for pace in both)
    seconds = max(pace.last for pace in both) - began
    # On a busy machine one starts seconds after the other: it can do nothing before.
    before_it_began = sum(pace.per_s * (pace.first - began) for pace in both)
    answers = sum(pace.answers for pace in both)
    ideal = (answers + before_it_began) / sum(pace.per_s for pace in both)
    return {
        "rows": node.shape.rows,
        "units": node.shape.units,
        "seconds": round(seconds, 2),
        "ideal_seconds": round(ideal, 2),
        "ratio_to_ideal": round(seconds / ideal, 3),
        "units_of_each": [list(makers.values()).count(worker) for worker in (0, 1)],
        "stolen": sum(unit not in own[worker] for unit, worker in makers.items()),
        "faster_times": round(max(p.per_s for p in both) / min(p.per_s for p in both), 2),
    }


def main() -> int:
    """Run both workers, print the figures, and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--slow-step-s", type=float, default=0.15)
    given = parser.parse_args()
    shape = Shape(given.rows, given.units, 8, given.slow_step_s, commit_interval_s=1.0)
    node = KillNode(Path(tempfile.mkdtemp(prefix="hala-unequal-")), shape)
    artifact = node.fresh("unequal", workers=2)
    codes = run(node, artifact)
    assert codes == [0, 0], f"workers ended with {codes}: see {artifact.logs}"
    found = collect_figures(node, artifact)
    assert node.start("gate", artifact.folder).wait(END_LIMIT_S) == 0, artifact.folder
    good = RowsCheck(node.corpus, artifact.folder, by_letters=True).run().is_good
    shutil.rmtree(node.base)
    print(json.dumps(found | {"rows_good": good}))
    return 0 if good and found["ratio_to_ideal"] <= MAX_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
