"""The pipeline of the benchmark: five nodes, two of which translate, and its launch command.

    left (prepare) -> arabic (translate) -> again (translate what arabic rejected) -> page (report)
    right (prepare) ------------------------------------------------------------------^

A stand-in replaces the engine. Gates and workers pause before each file that they rename into
place, so that faults can hit them in the middle.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.common.own_slurm import ROOT
from benchmarks.kills.node import NOTHING, STAND_IN, STAND_IN_ENGINE, empty_model

NODES = ("left", "right", "arabic", "again", "page")
#: Inputs of each node.
INPUTS = {"arabic": ("left",), "again": ("arabic",), "page": ("arabic", "again", "right")}
ROWS_LEFT, ROWS_RIGHT = 240, 90
#: The stand-in has no answer for one of so many rows.
REJECTED_EVERY = 12
STEP_S = 0.05
RECIPE = """
[left]
stage = "prepare"
data = "{base}/left.jsonl"
units = 2
resources = {{ workers = 2, cpus_per_rank = 1, mem_gb = 1 }}
[right]
stage = "prepare"
data = "{base}/right.jsonl"
units = 2
resources = {{ cpus_per_rank = 1, mem_gb = 1 }}
[arabic]
stage = "translate"
model = "{model}"
corpus = "@left"
units = 6
engine.name = "{engine}"
engine.max_num_seqs = 2
commit_interval_s = 0.2
max_rejected_fraction = 1
resources = {{ workers = 2, cpus_per_rank = 1, mem_gb = 1, gpus_per_node = 0 }}
[again]
stage = "translate"
model = "{model}"
corpus = "@arabic/rejected"
units = 2
engine.name = "{engine}"
engine.max_num_seqs = 2
commit_interval_s = 0.2
max_rejected_fraction = 1
resources = {{ cpus_per_rank = 1, mem_gb = 1, gpus_per_node = 0 }}
[page]
stage = "report"
nodes = ["@arabic", "@again", "@right"]
resources = {{ cpus_per_rank = 1, mem_gb = 1 }}
"""
#: Replaces the stand-in's own `sitecustomize`, which the jobs do not need.
LINGER = """
import os, random, sys, time

LINGER_S = {gate} if "hala_hpc.gate" in sys.orig_argv else {worker}

def linger(event, arguments):
    if event in ("os.rename", "os.link", "subprocess.Popen"):
        time.sleep(random.uniform(0, LINGER_S))

if LINGER_S and any(argument.startswith("hala_hpc.") for argument in sys.orig_argv):
    sys.addaudithook(linger)
"""
#: Maximum pause in seconds before a process renames, links or starts a program.
GATE_LINGERS_S, WORKER_LINGERS_S = 0.6, 0.05


@dataclass(frozen=True)
class Launch:
    """A launch that runs or has ended."""

    process: "subprocess.Popen[bytes]"
    out: Path
    err: Path

    def output(self) -> str:
        """Return what it printed."""
        return self.out.read_text() + self.err.read_text()


class Pipeline:
    """Recipe, rows and launchers in one folder, and a work folder for each run."""

    def __init__(self, base: Path) -> None:
        self.base = base
        write_rows(base / "left.jsonl", ROWS_LEFT, "house")
        write_rows(base / "right.jsonl", ROWS_RIGHT, "tower")
        values = {"base": base, "model": empty_model(base / "model"), "engine": STAND_IN_ENGINE}
        (base / "recipe.toml").write_text(RECIPE.format(**values))
        self.launchers = {
            "local": self.write_launcher("local", 0.0, 0.0, 0.0),
            "slurm": self.write_launcher("slurm", STEP_S, GATE_LINGERS_S, WORKER_LINGERS_S),
        }

    def write_launcher(self, backend: str, step_s: float, gate_s: float, worker_s: float) -> Path:
        """Write a launcher whose jobs use the stand-in and pause for so many seconds."""
        site = self.base / f"site-{backend}"
        site.mkdir()
        (site / "sitecustomize.py").write_text(LINGER.format(gate=gate_s, worker=worker_s))
        options = 'options.partition = "low"\n' if backend == "slurm" else ""
        path = self.base / f"{backend}.toml"
        paths = os.pathsep.join(map(str, (site, STAND_IN, ROOT)))
        path.write_text(
            f'backend = "{backend}"\n[resources]\n{options}[gate]\n{options}[environment]\n'
            f'HALA_STANDIN_STEP_S = "{step_s}"\nOMP_NUM_THREADS = "1"\nPYTHONPATH = "{paths}"\n'
        )
        return path

    def work(self, name: str) -> Path:
        """Return the work folder of a run."""
        return self.base / name

    def launch(self, name: str, number: int, backend: str = "slurm") -> Launch:
        """Start the n-th launch of a run."""
        overrides = [f"recipe={self.base}/recipe.toml", f"launcher={self.launchers[backend]}"]
        command = [sys.executable, "-m", "hala_hpc.launch", "stage=all", *overrides]
        out, err = (self.base / f"{name}-launch{number}.{end}" for end in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = start([*command, f"work={self.work(name)}"], stdout, stderr)
        return Launch(process, out, err)


def start(argv: list[str], out: IO[bytes], err: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a command in a session of its own."""
    return subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
    )


def write_rows(path: Path, rows: int, place: str) -> None:
    """Write questions with answers; the stand-in has no answer for some of them."""
    with path.open("w") as file:
        for number in range(rows):
            subject = NOTHING if number % REJECTED_EVERY == 1 else "quiet"
            texts = {
                "instruction": f"Who is {subject} in {place} {number}?",
                "output": f"The old man of {place} {number} is.",
            }
            file.write(json.dumps(texts) + "\n")
