"""Runs with the stand-in engine that a test can hold, on this machine or on SLURM."""

import json
import os
from pathlib import Path
from typing import Any

from checkout import ROOT, STANDIN
from command_line import recipe, run_command
from held import JobHold

from benchmarks.kills.node import STAND_IN_ENGINE, empty_model

#: The stand-in does not answer texts that contain this.
NOTHING = "speechless"
SMALL = "resources = { cpus_per_rank = 1, mem_gb = 1, gpus_per_node = 0 }"


def standin_variables(step_s: float = 0.0, held: JobHold | None = None) -> dict[str, str]:
    """Variables with which jobs find the engine of `write_stand_in_recipe`, held if given.

    A step takes at least `step_s` seconds, for tests that measure seconds.
    """
    path = os.pathsep.join(map(str, (STANDIN, ROOT)))
    standin = {"HALA_STANDIN_STEP_S": str(step_s), "PYTHONPATH": path}
    return standin | (held.variables if held else {})


def write_stand_in_recipe(
    folder: Path, rows: int = 600, rejected_every: int = 0, limit: float = 1
) -> str:
    """Write english -> arabic (two workers, 8 units, two answers per row) -> report; its override.

    The stand-in engine answers: jobs need `standin_variables`.
    """
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(rows):
            subject = NOTHING if rejected_every and number % rejected_every == 0 else "quiet"
            texts = {
                "instruction": f"Who is {subject} in house {number}?",
                "output": "The old man.",
            }
            file.write(json.dumps(texts) + "\n")
    model = empty_model(folder / "model")
    return recipe(
        folder,
        f"""
[english]
stage = "prepare"
data = "{folder}/rows.jsonl"
units = 1
{SMALL}
[arabic]
stage = "translate"
model = "{model}"
corpus = "@english"
units = 8
commit_interval_s = 0.2
max_rejected_fraction = {limit}
engine.max_num_seqs = 1
engine.name = "{STAND_IN_ENGINE}"
{SMALL.replace("{", "{ workers = 2,")}
[report]
nodes = ["@arabic"]
{SMALL}
""",
    )


def write_stand_in_launcher(folder: Path, step_s: float = 0.0, held: JobHold | None = None) -> str:
    """Write a launcher for minislurm whose jobs have `standin_variables`; return its override."""
    path = folder / "standin.toml"
    variables = {"HALA_DEVICE": "cpu"} | standin_variables(step_s, held)
    lines = [f'{key} = "{value}"' for key, value in variables.items()]
    path.write_text(
        'backend = "slurm"\n[resources]\noptions.partition = "low"\n'
        '[gate]\noptions.partition = "low"\n[environment]\n' + "\n".join(lines) + "\n"
    )
    return f"launcher={path}"


def read_node_states(work: Path, **env: Any) -> dict[str, dict[str, Any]]:
    """The state of every node by the command status."""
    result = run_command(f"work={work}", "format=json", module="status", **env)
    assert result.code == 0, result
    return {node["name"]: node for node in json.loads(result.out)["nodes"]}


def units_done(work: Path, node: str = "arabic") -> int:
    """Number of units of a node that have their marker."""
    return len(list((work / "latest" / node / "done").glob("[0-9]*.json")))
