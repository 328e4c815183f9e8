"""Trainings that take turns in a measurement: both come to their end, and none is left behind."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from benchmarks.sft.turns import Running, Took, race

#: Writes the time of each step, after some work. The second argument is the number of steps; with
#: the third it fails at the end.
SCRIPT = """
import json, sys, time
file, steps, code = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for step in range(steps):
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    with open(file, "a") as lines:
        lines.write(json.dumps({"time": time.time()}) + "\\n")
print("the end of the log")
sys.exit(code)
"""


def start(folder: Path, name: str, steps: int, code: int = 0) -> Running:
    """A training of a few short steps."""
    file, log = folder / f"{name}.jsonl", folder / f"{name}.log"
    with log.open("w") as stream:
        command = [sys.executable, "-c", SCRIPT, str(file), str(steps), str(code)]
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    return Running([process], lambda: file, log)


def test_both_sides_take_their_turns_and_come_to_their_end(tmp_path: Path) -> None:
    starts = {name: partial(start, tmp_path, name, 12) for name in ("one", "two")}
    running = race(starts, range(3, 11))
    assert {name: len(side.ends_s()) for name, side in running.items()} == {"one": 12, "two": 12}
    assert [process.returncode for side in running.values() for process in side.processes] == [0, 0]


def test_the_time_that_a_side_was_stopped_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "steps.jsonl"
    file.write_text("".join(f'{{"time": {time}}}\n' for time in (100.5, 104.0, 106.0)))
    side = Running([], lambda: file, tmp_path / "log")
    # It ran from 100 to 101, from 103 to 105, and again from 105.5: on one core, on two, on one.
    side.samples = [(100.0, 0.0, 0.0), (101.0, 1.0, 1.0), (103.0, 1.0, 1.0)]
    side.samples += [(105.0, 3.0, 5.0), (105.5, 3.0, 5.0), (106.5, 4.0, 6.0)]
    assert side.took(range(1, 2)) == Took(seconds=1.5, cpu_s=2.5)
    # The file of a finished training goes to its model.
    file.unlink()
    assert side.took(range(1, 3)) == Took(seconds=3.0, cpu_s=5.0)


@pytest.mark.parametrize(("steps", "code"), [(5, 0), (12, 3)])
def test_a_failed_side_is_reported_with_its_log_and_ends_the_other(
    tmp_path: Path, steps: int, code: int
) -> None:
    started: list[Running] = []

    def keep(side: Running) -> Running:
        started.append(side)
        return side

    starts = {
        "good": lambda: keep(start(tmp_path, "good", 12)),
        "bad": lambda: keep(start(tmp_path, "bad", steps, code)),
    }
    with pytest.raises(SystemExit, match="the end of the log"):
        race(starts, range(3, 11))
    assert all(process.poll() is not None for side in started for process in side.processes)
