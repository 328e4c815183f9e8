"""Workers share units: one that is done takes those that others have not started, none twice."""

import json
import os
import signal
from pathlib import Path

import pytest
from held import JobHold

from benchmarks.common.moving_files import retry_if_moved
from benchmarks.common.rows_check import RowsCheck, left_over
from benchmarks.common.waiting import WAIT_S, wait_until
from benchmarks.kills.node import KillNode, Shape
from benchmarks.unequal import collect_figures, who_made
from hala_hpc.core.artifact import Artifact

pytestmark = pytest.mark.slow
SHAPE = Shape(rows=640, units=32, step_s=0.005, commit_interval_s=0.2)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> KillNode:
    return KillNode(tmp_path_factory.mktemp("stealing"), SHAPE)


def finish(node: KillNode, artifact: Artifact) -> None:
    """Close the node; every row is there once and nothing else is."""
    assert node.start("gate", artifact.folder).wait(WAIT_S) == 0
    found = RowsCheck(node.corpus, artifact.folder, by_letters=True).run()
    assert (found.faults, found.rows_in) == ([], SHAPE.rows)
    assert left_over(artifact.folder) == []


def has_segment(artifact: Artifact) -> bool:
    return retry_if_moved(lambda: any(artifact.folder.glob("kept/*/piece-*")))


def claims(artifact: Artifact) -> list[Path]:
    return sorted((artifact.folder / "claims").iterdir())


def test_the_faster_worker_makes_units_of_the_slower_one(node: KillNode, tmp_path: Path) -> None:
    artifact, held = node.fresh("unequal", workers=2), JobHold(tmp_path, after=20)
    own = artifact.require_newest_round().assignment
    assert [len(units) for units in own] == [16, 16]
    # It gives a few answers, and the others when the fast one has found nothing more to do.
    slow = node.start("worker", artifact.folder, 0, **held.variables)
    wait_until(lambda: artifact.marker(own[0][0]) or artifact.claimed_units(), "the first claim")
    fast = node.start("worker", artifact.folder, 1)
    assert fast.wait(WAIT_S) == 0
    held.release()
    assert slow.wait(WAIT_S) == 0
    assert claims(artifact) == []
    found = collect_figures(node, artifact)
    assert found["units_of_each"][1] > 16
    assert found["stolen"] == found["units_of_each"][1] - 16
    # The last units of the slow worker are the ones that it would have come to last.
    makers = who_made(artifact)
    assert makers[own[0][-1]] == 1
    assert makers[own[0][0]] == 0
    finish(node, artifact)


def test_a_worker_for_whom_nothing_is_left_starts_no_engine(node: KillNode) -> None:
    artifact = node.fresh("claimed", workers=2)
    for unit in range(SHAPE.units):
        artifact.claim_file(unit).parent.mkdir(exist_ok=True)
        artifact.claim_file(unit).write_text(json.dumps({"worker": 0}))
    assert node.start_worker(artifact, 1).wait(WAIT_S) == 0
    assert not node.log.exists()
    assert artifact.progress() == []
    assert node.start_worker(artifact, 0).wait(WAIT_S) == 0
    assert len(artifact.done_units()) == SHAPE.units
    assert claims(artifact) == []
    finish(node, artifact)


def test_a_killed_worker_that_starts_again_finishes_what_it_had_claimed(
    node: KillNode, tmp_path: Path
) -> None:
    artifact, held = node.fresh("killed", workers=2), JobHold(tmp_path, after=20)
    slow = node.start("worker", artifact.folder, 0, **held.variables)
    wait_until(lambda: has_segment(artifact), "the first journal segment")
    for pid in (slow.pid, json.loads(artifact.progress_file(0).read_text())["pid"]):
        os.kill(pid, signal.SIGKILL)
    slow.wait(WAIT_S)
    had = artifact.claimed_units()
    assert had
    # The other worker leaves alone what the killed one has claimed.
    assert node.start_worker(artifact, 1).wait(WAIT_S) == 0
    assert set(artifact.done_units()) == set(range(SHAPE.units)) - had
    assert artifact.claimed_units() == had
    assert node.start_worker(artifact, 0).wait(WAIT_S) == 0
    assert {unit for unit, worker in who_made(artifact).items() if worker == 0} >= had
    assert claims(artifact) == []
    finish(node, artifact)


def test_a_new_round_shares_what_a_killed_worker_had_claimed(node: KillNode) -> None:
    artifact = node.fresh("again", workers=2)
    artifact.claim_file(5).parent.mkdir()
    artifact.claim_file(5).write_text(json.dumps({"worker": 0}))
    assert node.start_worker(artifact, 1).wait(WAIT_S) == 0
    assert artifact.done_units() == [unit for unit in range(SHAPE.units) if unit != 5]
    node.begin_round(artifact, 2)
    assert artifact.require_newest_round().assignment == ((5,),)
    assert node.start_worker(artifact, 0).wait(WAIT_S) == 0
    finish(node, artifact)
