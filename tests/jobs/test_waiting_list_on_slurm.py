"""A cluster that allows few jobs: arrays and nodes are cut and fed so that they fit."""

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
#: Seconds after which a run is taken not to end at all: fifty jobs share the cores.
LIMIT_S = 800
LIMITS = "MaxArraySize=100\nAccountingStorageEnforce=limits,qos"
ACCOUNTS = ["add account lab", "add user root account=lab", "modify user root set MaxSubmitJobs=50"]


@pytest.fixture(scope="module", autouse=True)
def small_site(minislurm: Path) -> Iterator[Path]:
    """SLURM with MaxArraySize 100 that lets a user have 50 jobs, where there is SLURM at all."""
    assert minislurm.exists()
    with own_slurm(LIMITS, ACCOUNTS) as folder:
        yield folder


def wait_for_all(work: Path) -> int:
    """Wait for the end of a run; the most jobs that were in the queue at once."""
    most = 0

    def all_are_done() -> bool:
        nonlocal most
        nodes = read_node_states(work)
        assert not [node for node in nodes.values() if node["state"] == "failed"], nodes
        most = max(most, len(read_command_output("squeue", "--noheader", "--array").splitlines()))
        return all(node["state"] == "done" for node in nodes.values())

    wait_until(
        all_are_done,
        "the end of the run",
        LIMIT_S,
        pause_s=1,
        state=lambda: run_command(f"work={work}", module="status").out,
    )
    return most


def rounds(work: Path, node: str) -> list[dict[str, Any]]:
    files = sorted((work / "latest" / node / "rounds").glob("*.json"))
    return [json.loads(path.read_text()) for path in files]


@pytest.mark.long
@pytest.mark.timeout(LIMIT_S + 100)
def test_a_node_of_a_thousand_units_completes(tmp_path: Path) -> None:
    work = tmp_path / "work"
    asked = (write_stand_in_recipe(tmp_path, rows=1000), write_stand_in_launcher(tmp_path))
    wide = ("arabic.units=1000", "arabic.resources.workers=200")
    told = launch("stage=all", *asked, f"work={work}", *wide)
    assert told.code == 0, told
    assert wait_for_all(work) <= 50
    assert len(rounds(work, "arabic")[0]["assignment"]) <= 48
    arabic = read_node_states(work)["arabic"]
    assert (arabic["units_done"], arabic["rows_out"]) == (1000, 1000)


@pytest.mark.timeout(LIMIT_S + 100)
def test_nodes_that_do_not_fit_are_submitted_by_the_gates_before_them(tmp_path: Path) -> None:
    run_sacctmgr("modify user root set MaxSubmitJobs=4")
    work = tmp_path / "work"
    # As long as the first node is held, nothing makes room.
    held = JobHold(tmp_path)
    asked = (write_stand_in_recipe(tmp_path, rows=40), write_stand_in_launcher(tmp_path, held=held))
    told = launch("stage=all", *asked, f"work={work}")
    assert told.code == 0, told
    assert "2 nodes submitted" in told.out
    assert "1 nodes wait for the job limit" in told.out
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


def test_a_launch_for_which_there_is_no_room_at_all_says_so(tmp_path: Path) -> None:
    run_sacctmgr("modify user root set MaxSubmitJobs=1")
    work = tmp_path / "work"
    told = launch(
        "stage=all",
        write_stand_in_recipe(tmp_path),
        write_stand_in_launcher(tmp_path),
        f"work={work}",
    )
    assert told.code == 75
    assert "job limit reached" in told.err
    assert "AssocMaxSubmitJobLimit" in told.err
    assert read_command_output("squeue", "--noheader") == ""
