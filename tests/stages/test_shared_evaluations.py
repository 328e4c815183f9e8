"""evaluate: what one node has evaluated, no other node of the work folder evaluates again."""

import json
from pathlib import Path

import pytest
from benchmark_tasks import question_rows, write_question_task
from command_line import launch, recipe
from tiny_models import trained_model, untrained_model

RECIPE = """
[evaluate]
include_path = "{tasks}"
tasks = ["quiz"]
choose = "t*"
# Each value makes a node that evaluates the same models: it changes no result.
batch_size = [4, 8]
engine.dtype = "float32"
[evaluate.models]
base = "{base}"
t0 = "{base}"
t1 = "{tuned}"
[report]
nodes = ["@evaluate-*"]
"""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(2400)
def test_two_nodes_of_a_sweep_evaluate_each_model_once_and_share_one_report(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    session = tmp_path_factory.getbasetemp()
    base, tuned = untrained_model(session), trained_model(session)
    write_question_task(tmp_path / "tasks", "quiz", question_rows(60))
    text = RECIPE.format(tasks=tmp_path / "tasks", base=base, tuned=tuned)
    given = [recipe(tmp_path, text), "stage=all", "launcher=local", f"work={tmp_path / 'work'}"]
    ended = launch(*given, HF_DATASETS_CACHE=str(tmp_path / "datasets"))
    assert ended.code == 0, ended.err

    stored = sorted((tmp_path / "work" / "evaluations").glob("*/evaluation.json"))
    assert len(stored) == 2, "two models, of which one has two labels"
    assert not list((tmp_path / "work" / "evaluations").glob("*.working"))
    logs = (tmp_path / "work").glob("evaluate-*/logs/worker-*.log")
    lines = "".join(path.read_text(encoding="utf-8") for path in logs)
    assert lines.count("evaluated before") == 4, "six units, of two results"
    outputs = sorted((tmp_path / "work" / "latest").glob("evaluate-*/output/scores.json"))
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in outputs)
    assert first == second
    assert first["scores"]["base"] == first["scores"]["t0"]

    page = (tmp_path / "work" / "latest" / "report" / "output" / "report.html").read_text()
    assert page.count("Differences to base") == 2
    assert page.count("Choice among t*") == 2
    assert page.count('<g class="point">') == 4
