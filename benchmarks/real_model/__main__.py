"""The full pipeline with SmolLM2-135M-Instruct on CPUs: `make rehearsal-real`.

quantize, filter, translate, tokenize, sft, merge and evaluate run through `launch`. Then the
English of base, merged and tuned is measured: 100 questions with four choices, and perplexity on
paragraphs of this machine's manual pages. It takes half an hour on two cores. Prints the model's
answers, the checks' results, and JSON as its last line:
seconds               of each node
rows                  rows in, out and rejected by reason of each node
right                 share of right answers of each model, with its interval
perplexity            of each model, with its interval
change                of perplexity against the base, with its interval; 1 within it: no difference
paragraphs            how many of them there are
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.common.machine import machine
from benchmarks.common.own_slurm import ROOT
from benchmarks.real_model.fetch import default_folder, fetched_model
from benchmarks.real_model.retention import change, perplexity, wilson

HERE = Path(__file__).parent
TASK = "hala_general_knowledge"
TASK_YAML = """\
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1
"""
#: Maximum number of printed answers.
MAX_ANSWERS = 10
#: Timeout of a step in seconds.
END_LIMIT_S = 3600
MODELS = {"base": "", "half": "half", "tuned": "tuned"}


def main() -> int:
    """Run the pipeline, then collect the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/real-model"), help="of the run")
    parser.add_argument("--model", type=Path, default=default_folder(), help="its folder")
    parser.add_argument(
        "--rows", type=Path, help="JSON lines to train on (default: those of the demo)"
    )
    given = parser.parse_args()
    work, model = given.work.absolute(), fetched_model(given.model.absolute())
    rows = (given.rows or ROOT / "hala_hpc/demo/alpaca.jsonl").absolute()
    recipe = write_recipe(work, model, rows)
    arguments = [f"recipe={recipe}", "stage=all", "launcher=local", f"work={work}"]
    done = subprocess.run(
        [sys.executable, "-m", "hala_hpc.launch", *arguments],
        cwd=ROOT,
        check=False,
        timeout=END_LIMIT_S,
    )
    if done.returncode:
        return done.returncode
    show_answers(work)
    print(json.dumps({"machine": machine(), **collect_figures(work, model)}))
    return 0


def write_recipe(work: Path, model: Path, rows: Path) -> Path:
    """Write the recipe with its paths, and the task of the questions beside it."""
    tasks = work / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    data = json.dumps(str(HERE / "questions.jsonl"), ensure_ascii=False)
    (tasks / f"{TASK}.yaml").write_text(TASK_YAML.format(task=TASK, data=data))
    recipe = work / "real-model.toml"
    text = (HERE / "recipe.toml").read_text()
    recipe.write_text(text.format(model=model, rows=rows, tasks=tasks))
    return recipe


def show_answers(work: Path) -> None:
    """Print the model's translations and the results of the checks."""
    import pyarrow.parquet as pq

    printed = 0
    output = work / "latest/french/output"
    for part in sorted((*output.glob("part-*.parquet"), *output.glob("rejected/part-*.parquet"))):
        for row in pq.read_table(part).to_pylist():
            if printed < MAX_ANSWERS:
                source = row.get("messages_source") or row["messages"]
                answer = row.get("said") or [one["content"] for one in row["messages"]]
                print(
                    json.dumps({"asked": source, "said": answer, "why": row.get("reason", "kept")})
                )
                printed += 1


def summary(work: Path, node: str) -> dict[str, Any]:
    """Return the summary of a node."""
    found: dict[str, Any] = json.loads((work / "latest" / node / "summary.json").read_text())
    return found


def collect_figures(work: Path, model: Path) -> dict[str, Any]:
    """Collect all figures."""
    nodes = sorted(path.name for path in (work / "latest").iterdir())
    summaries = {node: summary(work, node) for node in nodes}
    counted = ("rows_in", "rows_out", "rejected")
    scores = summaries["scores"]["details"]["scores"]
    count = len((HERE / "questions.jsonl").read_text().splitlines())
    places = {
        name: str((work / "latest" / node / "output").resolve()) if node else str(model)
        for name, node in MODELS.items()
    }
    found = measure_losses(places)
    return {
        "seconds": {node: one["seconds_wall"] for node, one in summaries.items()},
        "rows": {node: {key: one[key] for key in counted} for node, one in summaries.items()},
        "right": {name: wilson(round(share_right(scores[name]) * count), count) for name in MODELS},
        "perplexity": {name: perplexity(found[name]) for name in MODELS},
        "change": {name: change(found["base"], found[name]) for name in MODELS if name != "base"},
        "paragraphs": len(found["base"]),
    }


def share_right(scores: dict[str, float]) -> float:
    """Return the share of right answers from the scores of a model."""
    return next(value for name, value in scores.items() if name.startswith(TASK))


def measure_losses(places: dict[str, str]) -> dict[str, list[float]]:
    """Return the losses of each model on the paragraphs, measured in a separate process."""
    argv = [sys.executable, "-m", "benchmarks.real_model.retention", *places.values()]
    done = subprocess.run(
        argv, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=END_LIMIT_S
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: found[place] for name, place in places.items()}


if __name__ == "__main__":
    sys.exit(main())
