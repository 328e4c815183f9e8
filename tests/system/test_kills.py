"""Kills at any instant: no row lost, doubled or torn, little done twice, old attempts fenced."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random

import pytest
from held import JobHold

from benchmarks.common.moving_files import retry_if_moved
from benchmarks.common.rows_check import RowsCheck, left_over
from benchmarks.common.waiting import WAIT_S, wait_until
from benchmarks.kills.campaign import wrong_writer
from benchmarks.kills.kinds import AtCall, AtInstant, KillMethod
from benchmarks.kills.log import count_levels, losses
from benchmarks.kills.node import KillNode, Shape
from benchmarks.kills.run import KillRun
from hala_hpc.core.artifact import Artifact
from hala_hpc.data.corpus.reader import Row

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="kills at system calls need strace"),
]
SHAPE = Shape(rows=200, units=4)
#: Answers after which a worker that is to be disturbed waits: more than half, never all.
HELD_AFTER = 150


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> KillNode:
    return KillNode(tmp_path_factory.mktemp("kills"), SHAPE)


def run(
    node: KillNode,
    name: str,
    kills: Iterable[KillMethod],
    gate_kills: list[KillMethod],
    like: Path | None = None,
) -> int:
    """Make a run with these kills, finish and check it; return how many of them killed."""
    one = KillRun(node, name, Random(name))
    report = one.run(kills, gate_kills, like)
    assert (report.defects, report.found.faults, report.left_over) == ([], [], [])
    shape, found = node.shape, report.found
    assert found.rows_in == found.rows_out + found.rows_rejected == shape.rows
    assert all(loss.answers <= shape.redone_bound for loss in report.losses), report.losses
    return sum(report.kills.values())


def test_kills_at_random_instants_cost_no_row(node: KillNode, tmp_path: Path) -> None:
    chance = Random(7)
    # At least two attempts have something to do when they are killed, though each gives answers
    # for longer than a kill usually waits.
    held = JobHold(tmp_path, after=SHAPE.rows // 4)

    def kills() -> Iterator[KillMethod]:
        node.variables = held.variables
        for target in ("child", "supervisor", "both", "child"):
            yield AtInstant(target, chance.uniform(0, 0.15), node.log)
        node.variables = {}

    try:
        assert run(node, "instants", kills(), []) >= 2
    finally:
        node.variables = {}


@pytest.mark.long
def test_kills_while_broken_texts_are_asked_again_in_smaller_segments_cost_no_row(
    tmp_path: Path,
) -> None:
    node = KillNode(tmp_path, Shape(rows=60, units=4, is_mixed=True))
    calm = node.fresh("calm")
    assert node.start("worker", calm.folder, 0).wait(WAIT_S) == 0
    assert node.start("gate", calm.folder).wait(WAIT_S) == 0
    asked = count_levels(node.log)
    # Some texts are accepted whole, and some are asked in their paragraphs and lines.
    assert asked["text"] == 60
    assert 0 < asked["paragraph"] < 60
    assert 20 < asked["line"] < 300
    kills: list[KillMethod] = [
        AtInstant("both", 0.1, node.log),
        AtCall("link", 3),
        AtCall("fsync", 12),
    ]
    assert run(node, "mixed", kills, [], calm.folder) >= 2


@pytest.mark.long
def test_kills_between_the_steps_of_a_commit_cost_no_row(node: KillNode) -> None:
    kills: list[KillMethod] = [
        AtCall("link", 3),
        AtCall("rename", 9),
        AtCall("fsync", 25),
        AtCall("unlink", 12),
        AtCall("mkdir", 9),
        AtCall("write", 60),
    ]
    assert run(node, "calls", kills, []) >= 4


def test_a_gate_that_is_killed_leaves_nothing_behind(node: KillNode) -> None:
    kills: list[KillMethod] = [AtCall("link", 2), AtCall("rename", 1), AtCall("fsync", 11)]
    assert run(node, "gates", [], kills) == 3


@pytest.fixture(scope="module")
def calm(node: KillNode) -> Artifact:
    """An undisturbed run."""
    artifact = node.fresh("calm")
    assert node.start_worker(artifact, 0).wait(WAIT_S) == 0
    assert node.start("gate", artifact.folder).wait(WAIT_S) == 0
    assert RowsCheck(node.corpus, artifact.folder, by_letters=True).run().is_good
    return artifact


def rewrite(part: Path, change: Callable[[list[Row]], list[Row]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(part)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), part)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("lost", lambda rows: rows[:-1]),
        ("duplicated", lambda rows: [*rows, rows[-1]]),
        ("made_up", lambda rows: [*rows, {**rows[-1], "id": "f" * 32}]),
        ("changed", lambda rows: [{**rows[0], "source": "another"}, *rows[1:]]),
        ("torn", lambda rows: [{**rows[0], "target": rows[0]["target"][:-1]}, *rows[1:]]),
        ("torn", lambda rows: [{**rows[0], "target": ""}, *rows[1:]]),
        ("torn", lambda rows: [{**rows[0], "target": rows[1]["target"]}, *rows[1:]]),
        ("moved", lambda rows: [rows[1], rows[0], *rows[2:]]),
    ],
)
def test_the_check_finds_what_is_wrong_with_rows(
    kind: str,
    change: Callable[[list[Row]], list[Row]],
    node: KillNode,
    calm: Artifact,
    tmp_path: Path,
) -> None:
    shutil.copytree(calm.folder, tmp_path / "a")
    rewrite(tmp_path / "a" / "output" / "part-00001.parquet", change)
    found = RowsCheck(node.corpus, tmp_path / "a", by_letters=True).run()
    assert getattr(found, kind) > 0, found
    assert found.wrong_counts > 0


def test_the_check_finds_torn_files_and_wrong_counts(
    node: KillNode, calm: Artifact, tmp_path: Path
) -> None:
    shutil.copytree(calm.folder, tmp_path / "a")
    part = tmp_path / "a" / "output" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    assert RowsCheck(node.corpus, tmp_path / "a").run().torn == 1
    shutil.copytree(calm.folder, tmp_path / "b")
    marker_file = tmp_path / "b" / "done" / "00001.json"
    marker_file.write_text(marker_file.read_text().replace('"rows_out": 48', '"rows_out": 49'))
    assert RowsCheck(node.corpus, tmp_path / "b").run().wrong_counts == 1


def test_the_same_check_finds_what_a_wrong_writer_does_to_rows(node: KillNode) -> None:
    found = wrong_writer(node, seed=3, runs=2)
    assert found["runs_found"] > 0, found


def has_segment(artifact: Artifact) -> bool:
    return retry_if_moved(lambda: any(artifact.folder.glob("kept/*/piece-*")))


def freeze(pid: int) -> None:
    """Stop a process, and wait until it has stopped: the signal comes a little later."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")

    def states() -> set[str]:
        found = (path.read_text().rpartition(")")[2].split()[0] for path in tasks.glob("*/stat"))
        return set(found)

    wait_until(lambda: states() == {"T"}, "a process is stopped", state=states)


def test_an_old_attempt_that_wakes_up_commits_nothing_and_leaves(
    node: KillNode, tmp_path: Path
) -> None:
    artifact, held = node.fresh("fenced"), JobHold(tmp_path, after=HELD_AFTER)
    old = node.start("worker", artifact.folder, 0, **held.variables)
    wait_until(lambda: has_segment(artifact), "the first journal segment")
    pid = json.loads(artifact.progress_file(0).read_text())["pid"]
    freeze(pid)
    lease = json.loads(artifact.lease_file(0).read_text())["attempt"]
    segments = set(artifact.folder.glob("kept/*/*"))
    done = artifact.done_units()
    new = node.start_worker(artifact, 0)
    wait_until(lambda: len(artifact.done_units()) > len(done), "the new attempt's first unit")
    held.release()
    os.kill(pid, signal.SIGCONT)
    assert old.wait(WAIT_S) == 75
    assert new.wait(WAIT_S) == 0
    later = set(artifact.folder.glob("kept/*/*")) - segments
    assert not [path for path in later if lease in path.name]
    markers = [artifact.marker(unit) for unit in artifact.done_units() if unit not in done]
    assert len(markers) + len(done) == SHAPE.units
    assert lease not in [marker.attempt for marker in markers if marker]
    record = json.loads(artifact.attempt_file(lease).read_text())
    assert record["code"] == 75
    assert "the lease of worker 0 went to" in record["reasons"][0]
    assert node.start("gate", artifact.folder).wait(WAIT_S) == 0


def test_a_launch_whose_worker_is_killed_ends_well_in_one_line(tmp_path: Path) -> None:
    node, held = KillNode(tmp_path, SHAPE), JobHold(tmp_path, after=HELD_AFTER)
    launched = node.start("launch", *node.overrides, **held.variables)
    artifact = node.step.artifact
    wait_until(lambda: has_segment(artifact), "the first journal segment")
    os.kill(json.loads(artifact.progress_file(0).read_text())["pid"], signal.SIGKILL)
    held.release()
    assert launched.wait(WAIT_S) == 0
    found = RowsCheck(node.corpus, artifact.folder, by_letters=True).run()
    assert (found.faults, found.rows_in) == ([], SHAPE.rows)
    assert json.loads(artifact.summary_file.read_text())["rounds"] == 2
    assert left_over(artifact.folder) == []
    assert all(
        loss.answers <= SHAPE.redone_bound for loss in losses(node.log, SHAPE.commit_interval_s)
    )


def test_a_worker_that_is_asked_to_stop_keeps_every_answer(node: KillNode, tmp_path: Path) -> None:
    artifact, held = node.fresh("stopped"), JobHold(tmp_path, after=HELD_AFTER)
    # Journal segments would come every hour: only the stop itself commits.
    begun = artifact.require_newest_round()
    settings = {**begun.spec.settings, "commit_interval_s": 3600.0}
    spec = begun.spec.model_copy(update={"settings": settings})
    artifact.write_round(begun.model_copy(update={"spec": spec}))
    worker = node.start("worker", artifact.folder, 0, **held.variables)
    wait_until(lambda: node.log.exists() and node.log.stat().st_size > 4000, "some answers")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(WAIT_S) == 75
    assert node.start_worker(artifact, 0).wait(WAIT_S) == 0
    assert node.start("gate", artifact.folder).wait(WAIT_S) == 0
    found = RowsCheck(node.corpus, artifact.folder, by_letters=True).run()
    assert (found.faults, found.rows_in) == ([], SHAPE.rows)
    # Only answers of rows in flight, of those that are generated more than once.
    assert sum(loss.answers for loss in losses(node.log, 3600)) <= SHAPE.in_flight_answers
