"""A small run on a real SLURM: english -> arabic, with a stand-in for the engine of `translate`."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.own_slurm import ROOT
from benchmarks.kills.node import STAND_IN, STAND_IN_ENGINE, empty_model

RECIPE = """
[english]
stage = "prepare"
data = "{base}/rows.jsonl"
units = 1
resources = {{ cpus_per_rank = 1, mem_gb = 1 }}
[arabic]
stage = "translate"
model = "{model}"
corpus = "@english"
units = {units}
engine.name = "{engine}"
engine.max_num_seqs = {max_num_seqs}
commit_interval_s = 0.2
resources = {{ workers = {workers}, cpus_per_rank = 1, mem_gb = 1, gpus_per_node = 0 }}
"""


@dataclass(frozen=True)
class StandInRun:
    """Size of the work, and its folder; a row needs two answers."""

    base: Path
    rows: int
    units: int
    workers: int
    max_num_seqs: int = 64
    step_s: float = 0
    """Minimum seconds of an engine step, which gives `max_num_seqs` answers."""

    def write_inputs(self) -> None:
        """Write recipe, rows and an empty model."""
        with (self.base / "rows.jsonl").open("w") as file:
            for number in range(self.rows):
                text = {"instruction": f"Who lives in house {number}?", "output": "The old man."}
                file.write(json.dumps(text) + "\n")
        model = empty_model(self.base / "model")
        values = vars(self) | {"model": model, "engine": STAND_IN_ENGINE}
        (self.base / "recipe.toml").write_text(RECIPE.format(**values))

    @property
    def release_file(self) -> Path:
        """Held jobs wait for this file."""
        return self.base / "release"

    def launcher(self, name: str, options: str, hold_after: int | None = None) -> str:
        """Write a launcher whose jobs find the stand-in; return its argument.

        `local` needs no SLURM. With `hold_after` a worker waits for `release_file` after that
        number of answers.
        """
        path = self.base / f"{name}.toml"
        paths = os.pathsep.join((str(STAND_IN), str(ROOT)))
        path.write_text(
            f'backend = "{"local" if name == "local" else "slurm"}"\n'
            f"[resources.options]\n{options}\n[environment]\n"
            f'HALA_STANDIN_STEP_S = "{self.step_s}"\nPYTHONPATH = "{paths}"\n'
            + (
                f'HALA_FAULT = "hold={self.release_file} after={hold_after}"\n'
                if hold_after
                else ""
            )
        )
        return f"launcher={path}"

    def command(self, work: str, stage: str, launcher: str) -> list[str]:
        """Return the command of a launch."""
        overrides = [f"recipe={self.base}/recipe.toml", launcher, f"work={self.base}/{work}"]
        return [sys.executable, "-m", "hala_hpc.launch", f"stage={stage}", *overrides]
