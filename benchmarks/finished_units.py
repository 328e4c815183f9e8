"""Planning time of a node with many finished units: `python -m benchmarks.finished_units`.

Prints the CPU seconds of a dry run for a node that is done, with one output file missing, and with
its summary missing. Sizes are compared with the summary each time; markers are read in the second
case.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.kills.node import empty_model
from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.core.records import NodeSummary, UnitMarker

RECIPE = """
[corpus]
stage = "translate"
model = "{base}/model"
corpus = "{base}/corpus"
units = {units}
"""
DIGEST = "0" * 64


def main() -> None:
    """Make the folder, plan it three times in each state, print the minimum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=10_000)
    units = parser.parse_args().units
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        overrides = make_overrides(base, units)
        step = make_plan(parse_command_line(overrides).nodes, base / "work", None)["corpus"]
        finish(step)
        result = {"units": units, "done_cpu_s": measure_min_cpu_s(overrides, "done")}
        (step.artifact.output / "part-00000.parquet").unlink()
        result["damaged_cpu_s"] = measure_min_cpu_s(overrides, "damaged")
        step.artifact.summary_file.unlink()
        result["partial_cpu_s"] = measure_min_cpu_s(overrides, "partial")
    print(json.dumps(result))


def make_overrides(base: Path, units: int) -> list[str]:
    """Return the overrides of a launch of one node of so many units."""
    empty_model(base / "model")
    (base / "corpus").mkdir()
    (base / "corpus" / "part-00000.parquet").write_bytes(b"rows")
    (base / "recipe.toml").write_text(RECIPE.format(base=base, units=units))
    return ["stage=all", f"recipe={base}/recipe.toml", f"work={base}/work", "launcher=local"]


def finish(step: Step) -> None:
    """Write the files of a finished node, each of one byte."""
    artifact, names = step.artifact, [f"part-{unit:05d}.parquet" for unit in range(step.units)]
    artifact.output.mkdir(parents=True)
    artifact.write_config(step.config())
    artifact.marker_file(0).parent.mkdir()
    for unit, name in enumerate(names):
        marker = UnitMarker(unit=unit, files={name: 1}, sha256={name: DIGEST})
        artifact.marker_file(unit).write_text(marker.to_json())
        artifact.unit_folder(unit).mkdir(parents=True)
        (artifact.unit_folder(unit) / name).write_bytes(b"x")
        (artifact.output / name).hardlink_to(artifact.unit_folder(unit) / name)
    summary = NodeSummary(
        node=step.name,
        stage="translate",
        fingerprint=step.fingerprint,
        units=step.units,
        files=dict.fromkeys(names, 1),
        sha256=dict.fromkeys(names, DIGEST),
    )
    artifact.write_summary(summary)


def measure_min_cpu_s(overrides: list[str], state: str) -> float:
    """Return the CPU seconds of a dry run, the minimum of three; checks the state of the node."""
    command = [sys.executable, "-m", "hala_hpc.launch", *overrides, "dry_run=true"]
    seconds = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        after = os.times()
        assert state in done.stdout, done
        user = after.children_user - before.children_user
        seconds.append(user + after.children_system - before.children_system)
    return round(min(seconds), 3)


if __name__ == "__main__":
    main()
