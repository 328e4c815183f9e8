"""A cluster that allows few jobs: arrays are reduced and nodes wait until they fit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import launch, run_command
from held import JobHold
from slow_run import read_node_states, write_stand_in_launcher, write_stand_in_recipe

from benchmarks.common.own_slurm import own_slurm, read_command_output, run_sacctmgr
from benchmarks.common.waiting import wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
#: Timeout in seconds for the end of a run: fifty jobs share the cores.
LIMIT_S = 800
LIMITS = "MaxArraySize=100\nAccountingStorageEnforce=limits,qos"
ACCOUNTS = ["add account lab", "add user root account=lab", "modify user root set MaxSubmitJobs=50"]


@pytest.fixture(scope="module", autouse=True)
def small_site(minislurm: Path) -> Iterator[Path]:
    """SLURM with MaxArraySize 100 and 50 jobs for a user, if SLURM is installed."""
    assert minislurm.exists()
    with own_slurm(LIMITS, ACCOUNTS) as folder:
        yield folder


def wait_for_all(work: Path) -> int:
    """Wait for the end of a run; return the maximum number of queued jobs."""
    max_queued = 0

    def all_are_done() -> bool:
        nonlocal max_queued
        nodes = read_node_states(work)
        assert not [node for node in nodes.values() if node["state"] == "failed"], nodes
        max_queued = max(
            max_queued, len(read_command_output("squeue", "--noheader", "--array").splitlines())
        )
        return all(node["state"] == "done" for node in nodes.values())

    wait_until(
        all_are_done,
        "the end of the run",
        LIMIT_S,
        pause_s=1,
        state=lambda: run_command(f"work={work}", module="status").out,
    )
    return max_queued


def rounds(work: Path, node: str) -> list[dict[str, Any]]:
    files = sorted((work / "latest" / node / "rounds").glob("*.json"))
    return [json.loads(path.read_text()) for path in files]


@pytest.mark.long
@pytest.mark.timeout(LIMIT_S + 100)
def test_a_node_of_a_thousand_units_completes(tmp_path: Path) -> None:
    work = tmp_path / "work"
    asked = (write_stand_in_recipe(tmp_path, rows=1000), write_stand_in_launcher(tmp_path))
    wide = ("arabic.units=1000", "arabic.resources.workers=200")
    result = launch("stage=all", *asked, f"work={work}", *wide)
    assert result.code == 0, result
    assert wait_for_all(work) <= 50
    assert len(rounds(work, "arabic")[0]["assignment"]) <= 48
    arabic = read_node_states(work)["arabic"]
    assert (arabic["units_done"], arabic["rows_out"]) == (1000, 1000)


@pytest.mark.timeout(LIMIT_S + 100)
def test_nodes_that_do_not_fit_are_submitted_by_the_gates_before_them(tmp_path: Path) -> None:
    run_sacctmgr("modify user root set MaxSubmitJobs=4")
    work = tmp_path / "work"
    # While the first node is held, no job slot becomes free.
    held = JobHold(tmp_path)
    asked = (write_stand_in_recipe(tmp_path, rows=40), write_stand_in_launcher(tmp_path, held=held))
    result = launch("stage=all", *asked, f"work={work}")
    assert result.code == 0, result
    assert "2 nodes submitted" in result.out
    assert "1 nodes wait for the job limit" in result.out
    waiting = read_node_states(work)["report"]
    assert (waiting["state"], waiting["why"][:17]) == ("waiting", "job limit reached")
    held.release()
    assert wait_for_all(work) <= 4
    assert len(rounds(work, "arabic")[0]["assignment"]) == 1, "two workers had no room"
    assert not (work / "feed.json").exists()


def test_a_node_that_waits_for_room_fails_with_its_input_and_can_be_cancelled(
    tmp_path: Path,
) -> None:
    run_sacctmgr("modify user root set MaxSubmitJobs=4")
    work = tmp_path / "work"
    asked = (write_stand_in_recipe(tmp_path, rows=40, rejected_every=2, limit=0.01), f"work={work}")
    assert launch("stage=all", write_stand_in_launcher(tmp_path), *asked).code == 0
    wait_until(
        lambda: read_node_states(work)["report"]["state"] == "failed",
        "the report fails with its input",
        pause_s=1,
        state=lambda: read_node_states(work),
    )
    assert "arabic" in read_node_states(work)["report"]["why"]
    other = tmp_path / "other"
    asked = (*asked[:-1], f"work={other}")
    assert (
        launch("stage=all", write_stand_in_launcher(tmp_path, held=JobHold(tmp_path)), *asked).code
        == 0
    )
    assert (other / "feed.json").exists()
    assert run_command(f"work={other}", module="cancel").code == 0
    assert not (other / "feed.json").exists()


def test_a_launch_for_which_there_is_no_room_at_all_reports_it(tmp_path: Path) -> None:
    run_sacctmgr("modify user root set MaxSubmitJobs=1")
    work = tmp_path / "work"
    result = launch(
        "stage=all",
        write_stand_in_recipe(tmp_path),
        write_stand_in_launcher(tmp_path),
        f"work={work}",
    )
    assert result.code == 75
    assert "job limit reached" in result.err
    assert "AssocMaxSubmitJobLimit" in result.err
    assert read_command_output("squeue", "--noheader") == ""
