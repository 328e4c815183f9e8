"""The campaign of injected faults: its checks of answers and runs find faults, and a short one."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

from benchmarks.chaos.cluster import Cluster
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.node_folder import NodeFolder, node_folders
from benchmarks.chaos.outcome import check
from benchmarks.chaos.pipeline import Pipeline
from benchmarks.chaos.queued_jobs import QueuedJob
from benchmarks.chaos.status_watch import NodeMoment, what_is_wrong
from benchmarks.chaos.stops import CANCELLED, FORGOTTEN, NO_PROGRESS, UNEXPLAINED, StoppedRun
from benchmarks.common.waiting import WAIT_S
from hala_hpc.data.corpus.reader import Row

START = "2026-11-30T12:00:00"
RUNS = QueuedJob(
    "12_0", "12", "13", "RUNNING", "arabic-0123456789ab-00000000", "node1", START, "/w/logs"
)
WAITS = replace(RUNS, state="PENDING")
RUNS_AGAIN = replace(RUNS, start="2026-11-30T12:01:00")
NOTHING = NodeMoment(2, False, False, False, frozenset({"12"}), {}, False, 1, False)
AT_WORK = replace(NOTHING, jobs={"12_0": RUNS}, is_at_work=True)
WAITING = replace(NOTHING, jobs={"12_0": WAITS})
DONE = replace(NOTHING, markers=6, is_done=True)
FAILED = replace(NOTHING, has_failed=True)
AWAY = replace(NOTHING, jobs=None)


def judged(state: str, before: NodeMoment, after: NodeMoment, units_done: int = 2) -> bool:
    """Whether an answer may be true."""
    reported = {"state": state, "units_done": units_done}
    return not what_is_wrong(reported, before, after, blind=False)


@pytest.mark.parametrize(
    ("state", "before", "after"),
    [
        ("running", AT_WORK, AT_WORK),
        ("running", WAITING, AT_WORK),
        ("running", AT_WORK, NOTHING),
        ("running", AWAY, AWAY),
        ("waiting", WAITING, WAITING),
        ("waiting", WAITING, AT_WORK),
        ("waiting", AT_WORK, WAITING),
        ("waiting", AT_WORK, replace(AT_WORK, jobs={"12_0": RUNS_AGAIN})),
        ("partial", NOTHING, NOTHING),
        ("partial", AT_WORK, NOTHING),
        ("failed", FAILED, FAILED),
        ("failed", AT_WORK, FAILED),
        ("failed", AT_WORK, replace(NOTHING, is_launching=True)),
        ("done", AT_WORK, DONE),
    ],
)
def test_an_answer_that_may_be_true_is_none_that_is_wrong(
    state: str, before: NodeMoment, after: NodeMoment
) -> None:
    assert judged(state, before, after)


@pytest.mark.parametrize(
    ("state", "before", "after"),
    [
        ("running", NOTHING, NOTHING),
        ("running", WAITING, WAITING),
        ("running", DONE, DONE),
        ("waiting", NOTHING, NOTHING),
        ("waiting", AT_WORK, AT_WORK),
        ("partial", AT_WORK, AT_WORK),
        ("partial", FAILED, FAILED),
        ("new", WAITING, WAITING),
        ("failed", NOTHING, NOTHING),
        ("failed", AT_WORK, AT_WORK),
        ("done", AT_WORK, AT_WORK),
        ("done", AWAY, AWAY),
        ("damaged", DONE, DONE),
    ],
)
def test_an_answer_that_cannot_be_true_is_found(
    state: str, before: NodeMoment, after: NodeMoment
) -> None:
    assert not judged(state, before, after)


def test_units_without_a_maker_are_found() -> None:
    assert not judged("running", AT_WORK, AT_WORK, units_done=3)
    assert judged("running", AT_WORK, replace(AT_WORK, markers=3), units_done=3)


class Controller(Cluster):
    """One that was killed, or not, and has forgotten every job."""

    def __init__(self, killed_at: float | None) -> None:
        self.killed_at = [] if killed_at is None else [killed_at]

    def is_forgotten(self, number: str, name: str) -> bool:
        del number, name
        return True


def stopped_node(folder: Path, failure: dict[str, Any] | None = None) -> NodeFolder:
    """`left`, whose two rounds brought nothing, with jobs that were written down."""
    node = folder / "left-0123456789ab"
    (node / "rounds").mkdir(parents=True)
    for number in (1, 2):
        record = {"round": number, "key": "k", "began": 10.0, "progress_before": ["0 units"]}
        (node / "rounds" / f"000{number}.json").write_text(json.dumps(record))
    (node / "jobs.json").write_text(json.dumps({"round": 2, "workers": "3", "gate": "4"}))
    if failure is not None:
        (node / "failure.json").write_text(json.dumps(failure))
    return NodeFolder(node)


def reason_of(node: NodeFolder, ledger: Ledger, controller: Controller) -> str:
    (stop,) = StoppedRun({"left": node, "right": node}, ledger, controller).stops()[:1]
    return stop.reason


CANCELLED_FAILURE = {"code": 75, "reasons": [{"text": "ended", "kind": "cancelled"}]}
KILLED_FAILURE = {"code": 70, "reasons": [{"text": "no progress"}]}


def test_a_stop_has_one_of_three_reasons_or_none(tmp_path: Path) -> None:
    untouched, cancelled = Ledger(), Ledger(cancelled={"left"})
    calm, killed = Controller(None), Controller(killed_at=20.0)
    silent = stopped_node(tmp_path / "a")
    assert reason_of(silent, untouched, calm) == UNEXPLAINED
    assert reason_of(silent, cancelled, calm) == CANCELLED
    assert reason_of(silent, untouched, killed) == FORGOTTEN
    recorded = stopped_node(tmp_path / "b", CANCELLED_FAILURE)
    assert reason_of(recorded, cancelled, calm) == CANCELLED
    assert reason_of(recorded, untouched, killed) == UNEXPLAINED, "there was no scancel"
    idle = stopped_node(tmp_path / "c", KILLED_FAILURE)
    assert reason_of(idle, cancelled, killed) == NO_PROGRESS
    (idle.folder / "done").mkdir()
    (idle.folder / "done" / "00000.json").write_text("{}")
    assert reason_of(idle, cancelled, killed) == UNEXPLAINED, "its last round made a unit"


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of an undisturbed run."""
    pipeline = Pipeline(tmp_path_factory.mktemp("chaos"))
    launch = pipeline.launch("calm", 1, "local")
    assert launch.process.wait(WAIT_S) == 0, launch.output()
    return pipeline.work("calm")


def rewrite(part: Path, change: Callable[[list[Row]], list[Row]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(part)
    rows = pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema)
    part.unlink()
    pq.write_table(rows, part)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("lost", lambda rows: rows[:-1]),
        ("duplicated", lambda rows: [*rows, rows[-1]]),
        ("changed", lambda rows: [rows[1], rows[0], *rows[2:]]),
    ],
)
@pytest.mark.parametrize("node", ["left", "arabic"])
def test_the_check_finds_what_is_wrong_with_a_run(
    node: str, kind: str, change: Callable[[list[Row]], list[Row]], calm: Path, tmp_path: Path
) -> None:
    assert check(calm, calm).faults == []
    shutil.copytree(calm, tmp_path / "run", symlinks=True)
    output = node_folders(tmp_path / "run")[node].folder / "output"
    rewrite(output / "part-00001.parquet", change)
    found = check(tmp_path / "run", calm)
    assert found.rows[kind] > 0, found
    assert found.rows["torn"] > 0, "the digest is another"


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_minute_of_faults_loses_nothing_and_status_is_right() -> None:
    arguments = ["-m", "benchmarks.chaos", "--minutes", "1", "--at-once", "1"]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1400,
        check=False,
    )
    assert done.stdout, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["faults"], result["good"], done.returncode) == ({}, True, 0), done.stderr
    assert result["runs"] > 0
    assert sum(result["acts"].values()) > 0
    assert result["statuses"]["answers"] > 0
