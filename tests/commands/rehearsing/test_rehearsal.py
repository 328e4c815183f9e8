"""`rehearse=true`: the chain small, apart from real results, and a page that shows faults."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT, STANDIN
from command_line import CommandResult, launch, run_command

from benchmarks.kills.node import empty_model
from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.planning.plan import make_plan
from hala_hpc.core.rehearsal import QUESTIONS, REHEARSAL_PREFIX, ROWS, STEPS

ROWS_HERE = 400
RECIPE = """
[english]
stage = "prepare"
data = "{folder}/rows.jsonl"
units = 2

[arabic]
stage = "translate"
model = "{folder}/model"
corpus = "@english"
units = 4
retries = 0
engine = {{ name = "planted_engine:PlantedEngine" }}
[arabic.resources]
workers = 2

[page]
stage = "report"
nodes = ["@arabic"]
"""


def hala(work: Path, *overrides: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Fingerprints and settings of the nodes that a line of the recipe `hala` means."""
    given = ["recipe=hala", "launcher=slurm", "stage=all", f"work={work}", *overrides]
    command_line = parse_command_line(given)
    steps = make_plan(command_line.nodes, command_line.work, {})
    return (
        {name: step.fingerprint for name, step in steps.items()},
        {name: step.node.settings for name, step in steps.items()},
    )


def test_what_does_not_shrink_is_shared_and_all_else_is_apart(work: Path) -> None:
    full, _ = hala(work)
    rehearsed, settings = hala(work, "rehearse=true")
    assert [name for name in rehearsed if not name.startswith(REHEARSAL_PREFIX)] == ["teacher"]
    assert rehearsed["teacher"] == full["teacher"]
    assert {name.removeprefix(REHEARSAL_PREFIX) for name in rehearsed} == full.keys()
    assert not set(rehearsed.values()) & (set(full.values()) - {full["teacher"]})
    assert settings["rehearse-opus"].limit == ROWS
    assert settings["rehearse-sft-1.2b"].max_steps == STEPS
    assert settings["rehearse-scores-1.2b"].limit == QUESTIONS
    assert settings["rehearse-arabic-tulu"].resources.workers == 1
    assert settings["rehearse-sft-9b"].resources.nodes == 4
    assert settings["rehearse-merge-1.2b"].model == ["@rehearse-sft-1.2b"]


def test_the_rehearsal_of_the_recipe_takes_no_more_than_ten_gpu_hours(work: Path) -> None:
    arguments = ("recipe=hala", "stage=report-1.2b", f"launcher={ROOT}/launchers/h100-site.toml")
    ended = launch(*arguments, "rehearse=true", "dry_run=true", f"work={work}")
    found = re.search(r"they take about ([\d.]+) GPU hours", ended.out)
    assert found, ended
    assert float(found[1]) <= 10


def rehearse(folder: Path, work: Path, planted: str = "") -> CommandResult:
    empty_model(folder / "model")
    rows = [
        {"instruction": f"Tell me about the number {n} and why.", "output": f"It is number {n}."}
        for n in range(ROWS_HERE)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder))
    arguments = (f"recipe={folder}/recipe.toml", "stage=all", "launcher=local", f"work={work}")
    path = os.pathsep.join(map(str, (STANDIN, ROOT)))
    return launch(*arguments, "rehearse=true", HALA_PLANTED=planted, PYTHONPATH=path)


def test_a_rehearsal_that_works_reports_it_and_what_the_full_run_takes(
    tmp_path: Path, work: Path
) -> None:
    ended = rehearse(tmp_path, work)
    assert ended.code == 0, ended
    assert "3 of 3 nodes succeeded: the full run can be started." in ended.out
    names = sorted(path.name for path in work.glob("*-*/summary.json"))
    assert len(names) == 3
    found = {path.parent.name.rpartition("-")[0] for path in work.glob("*/summary.json")}
    assert found == {"rehearse-english", "rehearse-arabic", "rehearse-page"}
    page = (work / "rehearsal.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| arabic |")]
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[3:6] == ["works", str(ROWS), str(ROWS)]
    # 400 rows are a third more than 300.
    assert float(cells[10]) == pytest.approx(ROWS_HERE / ROWS, abs=0.06)
    again = run_command(f"work={work}", module="rehearsal")
    assert (again.code, "the full run can be started" in again.out) == (0, True), again


@pytest.mark.parametrize(
    "planted",
    [
        "framing",
        pytest.param("language", marks=pytest.mark.long),
        pytest.param("template", marks=pytest.mark.long),
        pytest.param("broken", marks=pytest.mark.long),
    ],
)
def test_a_planted_fault_is_on_the_page_before_the_full_run(
    planted: str, tmp_path: Path, work: Path
) -> None:
    ended = rehearse(tmp_path, work, planted)
    assert ended.code != 0, ended
    assert "do not start the full run yet" in ended.out
    page = (work / "rehearsal.md").read_text()
    assert re.search(r"\*\*must\*\* arabic: ", page), page
    shown = {
        "framing": "START_RESPONSE",
        "template": "im_start",
        "broken": "repetition",
        "language": "copied",
    }
    assert shown[planted] in page
    html = (work / "rehearsal.html").read_text()
    assert "<bdi>" in html
    assert "<script" not in html


def test_a_page_of_a_run_that_was_not_rehearsed_explains_how_to(tmp_path: Path, work: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say 1", "output": "1"}\n')
    text = f'[english]\nstage = "prepare"\ndata = "{tmp_path}/rows.jsonl"\n'
    (tmp_path / "recipe.toml").write_text(text)
    arguments = (f"recipe={tmp_path}/recipe.toml", "stage=all", "launcher=local", f"work={work}")
    assert launch(*arguments).code == 0
    ended = run_command(f"work={work}", module="rehearsal")
    assert (ended.code, "rehearse=true" in ended.err) == (64, True), ended
