"""Retry says what it does, forgets a failure and nothing that is finished, and names the line."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from command_line import launch, one_row_recipe, run_command
from slow_run import NOTHING, read_node_states, standin_variables, units_done, write_stand_in_recipe

#: A translation is stopped early after a thousand rows.
MANY_ROWS = 1600
ROWS = 160


def variables(folder: Path) -> dict[str, Any]:
    return {**standin_variables(), "HALA_STANDIN_LOG": str(folder / "asked.log")}


def asked(folder: Path) -> list[str]:
    """Questions without an answer that the stand-in was asked until now."""
    return [line for line in (folder / "asked.log").read_text().splitlines() if NOTHING in line]


def marks(work: Path) -> dict[str, int]:
    """The mark of every finished unit, as a file."""
    return {path.name: path.stat().st_ino for path in (work / "latest/arabic/done").iterdir()}


@pytest.mark.slow
def test_failed_units_run_again_with_the_rows_that_were_rejected(
    tmp_path: Path, work: Path
) -> None:
    line = ["stage=arabic", write_stand_in_recipe(tmp_path, MANY_ROWS, 4, 0.1), f"work={work}"]
    assert launch(*line, **variables(tmp_path)).code == 65
    done, before = marks(work), len(asked(tmp_path))
    assert 0 < len(done) < 8

    plan = run_command(f"work={work}", "dry_run=true", module="retry")
    assert plan.code == 0, plan
    assert "arabic: its failure is removed: " in plan.out
    assert f"{8 - len(done)} of 8 units run again: {len(done)}" in plan.out
    assert "rejected rows of these units run again" in plan.out
    assert read_node_states(work)["arabic"]["state"] == "failed"

    told = run_command(f"work={work}", module="retry")
    assert told.code == 0, told
    assert told.out == plan.out.removesuffix("nothing was changed: this was a dry run\n")
    assert read_node_states(work)["arabic"]["state"] == "partial"
    again = shlex.split(told.out.splitlines()[-1].removeprefix("then run: "))[3:]
    ended = launch(*again, "arabic.max_rejected_fraction=1", **variables(tmp_path))
    assert ended.code == 0, ended
    assert done.items() <= marks(work).items()
    summary = json.loads((work / "latest/arabic/summary.json").read_text())
    assert (summary["rows_in"], summary["rows_rejected"]) == (MANY_ROWS, MANY_ROWS // 4)
    first, second = asked(tmp_path)[:before], asked(tmp_path)[before:]
    # A row of an unfinished unit was asked before and after; one of a finished unit was not.
    houses = [
        {int(text.split(" in house ")[1].split("?")[0]) for text in part if " in house " in text}
        for part in (first, second)
    ]
    assert houses[0] & houses[1]
    assert min(houses[1]) >= len(done) * MANY_ROWS // 8


@pytest.mark.slow
def test_rejected_rows_become_a_node_of_their_own(tmp_path: Path, work: Path) -> None:
    line = [
        "stage=arabic",
        write_stand_in_recipe(tmp_path, ROWS, 4),
        f"work={work}",
        "arabic.commit_interval_s=0.3",
    ]
    assert launch(*line, **variables(tmp_path)).code == 0
    words = (f"work={work}", "node=translate", "rejected=true")
    plan = run_command(*words, "dry_run=true", module="retry")
    assert plan.code == 0, plan
    assert f"arabic: {ROWS // 4} rejected rows become the corpus of a new node" in plan.out
    assert not (work / "recipes").exists()
    told = run_command(*words, module="retry")
    assert told.code == 0, told
    lines = told.out.splitlines()
    again = next(text for text in lines if text.startswith("python -m hala_hpc.launch"))
    assert "arabic-again.commit_interval_s=0.3" in again
    done = units_done(work)
    assert launch(*shlex.split(again)[3:], **variables(tmp_path)).code == 0
    summary = json.loads((work / "latest/arabic-again/summary.json").read_text())
    assert summary["rows_in"] == ROWS // 4
    assert units_done(work) == done


@pytest.mark.slow
@pytest.mark.long
def test_a_node_that_its_first_rows_stopped_is_judged_by_the_next_ones(
    tmp_path: Path, work: Path
) -> None:
    line = ["stage=arabic", write_stand_in_recipe(tmp_path, MANY_ROWS, 1, 0.5), f"work={work}"]
    ended = launch(*line, **variables(tmp_path))
    assert ended.code == 65, ended
    failure = json.loads((work / "latest/arabic/failure.json").read_text())
    assert "rejected for 'empty', a fault of the model" in ended.err
    assert failure["reasons"][0]["gpu_seconds"] == 0.0
    first = len(asked(tmp_path))
    # Each row is asked three times; the rest of the node is spared.
    assert 200 <= first <= 3 * 400
    again = launch(*line, **variables(tmp_path))
    assert (again.code, len(asked(tmp_path))) == (65, first)
    assert run_command(f"work={work}", module="retry").code == 0
    assert launch(*line, **variables(tmp_path)).code == 65
    assert len(asked(tmp_path)) > first


def test_what_cannot_be_tried_again_is_refused_with_the_cure(tmp_path: Path, work: Path) -> None:
    assert launch("stage=all", one_row_recipe(tmp_path), f"work={work}").code == 0
    told = run_command(f"work={work}", module="retry")
    assert (told.code, "no node has failed" in told.out) == (0, True)
    for words, cure in (
        (["node=corpus"], "write rejected=true"),
        (["rejected=true"], "name the node"),
        (["rejected=true", "failed=true"], "write one of them"),
        (["failed=nonsense"], "failed=nonsense: write true or false"),
        (["failed=false"], "write rejected=true"),
        (["node=corpus", "rejected=true"], "prepare does not write rejected rows"),
    ):
        wrong = run_command(f"work={work}", *words, module="retry")
        assert wrong.code == 64, wrong
        assert cure in wrong.err
