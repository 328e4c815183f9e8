"""Retry prints what it does, removes a failure and nothing finished, and names the command."""

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


def marker_inodes(work: Path) -> dict[str, int]:
    """The marker of every finished unit, as a file."""
    return {path.name: path.stat().st_ino for path in (work / "latest/arabic/done").iterdir()}


@pytest.mark.slow
def test_failed_units_run_again_with_the_rows_that_were_rejected(
    tmp_path: Path, work: Path
) -> None:
    arguments = ["stage=arabic", write_stand_in_recipe(tmp_path, MANY_ROWS, 4, 0.1), f"work={work}"]
    assert launch(*arguments, **variables(tmp_path)).code == 65
    done, before = marker_inodes(work), len(asked(tmp_path))
    assert 0 < len(done) < 8

    plan = run_command(f"work={work}", "dry_run=true", module="retry")
    assert plan.code == 0, plan
    assert "arabic: its failure is removed: " in plan.out
    assert f"{8 - len(done)} of 8 units run again: {len(done)}" in plan.out
    assert "rejected rows of these units run again" in plan.out
    assert read_node_states(work)["arabic"]["state"] == "failed"

    retried = run_command(f"work={work}", module="retry")
    assert retried.code == 0, retried
    assert retried.out == plan.out.removesuffix("nothing was changed: this was a dry run\n")
    assert read_node_states(work)["arabic"]["state"] == "partial"
    again = shlex.split(retried.out.splitlines()[-1].removeprefix("then run: "))[3:]
    ended = launch(*again, "arabic.max_rejected_fraction=1", **variables(tmp_path))
    assert ended.code == 0, ended
    assert done.items() <= marker_inodes(work).items()
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
    arguments = [
        "stage=arabic",
        write_stand_in_recipe(tmp_path, ROWS, 4),
        f"work={work}",
        "arabic.commit_interval_s=0.3",
    ]
    assert launch(*arguments, **variables(tmp_path)).code == 0
    of_retry = (f"work={work}", "node=translate", "rejected=true")
    plan = run_command(*of_retry, "dry_run=true", module="retry")
    assert plan.code == 0, plan
    assert f"arabic: {ROWS // 4} rejected rows become the corpus of a new node" in plan.out
    assert not (work / "recipes").exists()
    ended = run_command(*of_retry, module="retry")
    assert ended.code == 0, ended
    lines = ended.out.splitlines()
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
    arguments = ["stage=arabic", write_stand_in_recipe(tmp_path, MANY_ROWS, 1, 0.5), f"work={work}"]
    ended = launch(*arguments, **variables(tmp_path))
    assert ended.code == 65, ended
    failure = json.loads((work / "latest/arabic/failure.json").read_text())
    assert "rejected for 'empty', a fault of the model" in ended.err
    assert failure["reasons"][0]["gpu_seconds"] == 0.0
    first = len(asked(tmp_path))
    # Each row is asked three times; the rest of the node is spared.
    assert 200 <= first <= 3 * 400
    again = launch(*arguments, **variables(tmp_path))
    assert (again.code, len(asked(tmp_path))) == (65, first)
    assert run_command(f"work={work}", module="retry").code == 0
    assert launch(*arguments, **variables(tmp_path)).code == 65
    assert len(asked(tmp_path)) > first


def test_what_cannot_be_tried_again_is_refused_with_the_fix(tmp_path: Path, work: Path) -> None:
    assert launch("stage=all", one_row_recipe(tmp_path), f"work={work}").code == 0
    ended = run_command(f"work={work}", module="retry")
    assert (ended.code, "no node has failed" in ended.out) == (0, True)
    for arguments, fix in (
        (["node=corpus"], "write rejected=true"),
        (["rejected=true"], "name the node"),
        (["rejected=true", "failed=true"], "write one of them"),
        (["failed=nonsense"], "failed=nonsense: write true or false"),
        (["failed=false"], "write rejected=true"),
        (["node=corpus", "rejected=true"], "prepare does not write rejected rows"),
    ):
        wrong = run_command(f"work={work}", *arguments, module="retry")
        assert wrong.code == 64, wrong
        assert fix in wrong.err
