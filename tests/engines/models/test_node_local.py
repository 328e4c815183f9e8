"""Copies of models on a node's own disk: made once, verified, shared, and removed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import launch
from slow_run import standin_variables, write_stand_in_recipe
from small_disks import small_disk

from benchmarks.common.waiting import WAIT_S
from hala_hpc.core.errors import BadNode
from hala_hpc.engines.models.node_local import (
    LocalWeights,
    copies_root,
    make_copy,
    remove_unused_copies,
    require_identical,
)

#: Reads a model through its copy until it is asked to end.
READER = """
import logging, sys
from pathlib import Path
from hala_hpc.engines.models.node_local import LocalWeights
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
with LocalWeights(sys.argv[1]) as local:
    print(local.path(Path(sys.argv[2])), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of two files, one of them a link as in a hub cache."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/config.json").write_text("{}")
    (tmp_path / "blob").write_bytes(os.urandom(40 * 2**20))
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    return folder


def start(disk: Path, model: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", READER, str(disk), str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def left_on(disk: Path) -> list[str]:
    return sorted(path.name for path in copies_root(str(disk)).rglob("*"))


def test_processes_of_a_node_share_one_copy_and_the_last_removes_it(
    tmp_path: Path, model: Path
) -> None:
    disk = tmp_path / "disk"
    readers = [start(disk, model) for _ in range(4)]
    outputs = []
    for reader in readers:
        assert reader.stdout
        lines = [reader.stdout.readline()]
        if lines[0].startswith("copied"):
            lines.append(reader.stdout.readline())
        outputs.append(lines)
    assert sum(len(lines) for lines in outputs) == 5, "one of the four copied"
    (home,) = {lines[-1].strip() for lines in outputs}
    assert Path(home).name == "model", "it has the name of its source"
    assert Path(home).joinpath("model.safetensors").read_bytes() == (tmp_path / "blob").read_bytes()
    assert Path(home).joinpath("sub/config.json").read_text() == "{}"
    for reader in readers[:3]:
        reader.communicate(timeout=WAIT_S)
        assert Path(home).exists()
    readers[3].communicate(timeout=WAIT_S)
    assert left_on(disk) == []


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path: Path, model: Path) -> None:
    disk = tmp_path / "disk"
    reader = start(disk, model)
    assert reader.stdout
    assert reader.stdout.readline().startswith("copied")
    reader.send_signal(signal.SIGKILL)
    reader.communicate(timeout=WAIT_S)
    assert left_on(disk) != []
    remove_unused_copies(copies_root(str(disk)))
    assert left_on(disk) == []


def test_a_changed_model_has_another_copy_and_a_damaged_one_is_made_again(
    tmp_path: Path, model: Path
) -> None:
    disk = str(tmp_path / "disk")
    with LocalWeights(disk) as first:
        before = first.path(model)
        assert first.path(model) == before
        (model / "sub/config.json").write_text('{"a": 1}')
        with LocalWeights(disk) as second:
            after = second.path(model)
            assert after != before
            assert (after / "sub/config.json").read_text() == '{"a": 1}'
        assert not after.exists()
        assert before.exists()
    (before.parent.parent).mkdir(exist_ok=True)
    make_copy(model, after)
    (after / "model.safetensors").write_bytes(b"torn")
    with LocalWeights(disk) as third:
        assert (third.path(model) / "model.safetensors").stat().st_size == 40 * 2**20


def test_a_disk_that_reads_otherwise_is_a_bad_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALA_NODE", "node7")
    (tmp_path / "weights").write_bytes(b"12345")
    facts = {"weights": (5, "0" * 64)}
    with pytest.raises(BadNode, match=r"node node7: .* is not what was written there") as caught:
        require_identical(tmp_path, facts)
    assert caught.value.nodes == ("node7",)


@pytest.fixture
def disk_of_16_mb(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", 16) as disk:
        yield disk


def test_a_model_without_room_is_read_at_its_source(
    model: Path, disk_of_16_mb: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with LocalWeights(str(disk_of_16_mb)) as local:
        assert local.path(model) == model
    assert "is read without a local copy: it has 0.0 GB, and" in caplog.text
    assert left_on(disk_of_16_mb) == []
    with LocalWeights("") as local:
        assert local.path(model) == model


@pytest.mark.slow
def test_a_stage_reads_its_model_from_the_nodes_disk(tmp_path: Path, work: Path) -> None:
    disk = tmp_path / "disk"
    arguments = ["stage=arabic", write_stand_in_recipe(tmp_path, 40), f"work={work}"]
    variables: dict[str, Any] = standin_variables()
    ended = launch(*arguments, f"arabic.resources.local_weights_dir={disk}", **variables)
    assert ended.code == 0, ended
    log = (work / "latest/arabic/logs/worker-00000-0000.log").read_text()
    assert "copied " in log
    assert f"to {disk}/hala-weights-" in log
    assert left_on(disk) == []
