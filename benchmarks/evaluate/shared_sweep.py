"""A sweep of five merges, each evaluated beside its parents by its own node: what is reused."""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.evaluate.made_up_questions import make_model

VALUES = (0.1, 0.3, 0.5, 0.7, 0.9)
#: base, tuned model and merged model.
MODELS_OF_NODE = 3
QUESTIONS = 40
RECIPE = """
[merge]
base = "{base}"
model = "{tuned}"
t = {values}
try_with = []
[evaluate]
include_path = "{tasks}"
tasks = ["made_up"]
engine.dtype = "float32"
models.base = "{base}"
models.tuned = "{tuned}"
models.merged = "@merge"
"""
TASK = """task: made_up
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["w1", "w2"]
doc_to_target: 0
metric_list: [{{metric: acc}}]
metadata: {{version: 1}}
"""


def measure_reuse(base: Path) -> float:
    """Share of the units of all nodes whose results another node had made.

    Raises: RuntimeError with the end of its output if the launch fails.
    """
    tasks = base / "tasks"
    tasks.mkdir()
    rows = [{"question": f"w{number} w{number + 1}"} for number in range(5, 5 + QUESTIONS)]
    (tasks / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tasks / "made_up.yaml").write_text(TASK.format(data=tasks / "rows.jsonl"))
    for seed, name in enumerate(("base", "tuned")):
        make_model(base / name, seed)
    recipe = base / "recipe.toml"
    places = {"base": base / "base", "tuned": base / "tuned", "tasks": tasks}
    recipe.write_text(RECIPE.format(values=list(VALUES), **places))
    given = [f"recipe={recipe}", "stage=all", "launcher=local", f"work={base / 'work'}"]
    ended = subprocess.run(
        [sys.executable, "-m", "hala_hpc.launch", *given],
        env={**os.environ, "HF_DATASETS_CACHE": str(base / "datasets")},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError((ended.stdout + ended.stderr)[-2000:])
    made = len(list((base / "work" / "evaluations").glob("*/evaluation.json")))
    return 1 - made / (len(VALUES) * MODELS_OF_NODE)
