"""The lease of a work folder: its holder, when it is taken over, and who may remove it."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import launch, one_row_recipe, run_command

from hala_hpc.commands.monitoring.launch_process import find_launch_process
from hala_hpc.core import lease
from hala_hpc.core.errors import UserError
from hala_hpc.core.lease import HEARTBEAT_TIMEOUT_S, launch_lease_file, work_lease
from hala_hpc.core.records import LaunchLease

HERE = socket.gethostname()


def elsewhere(work: Path, holder: str, silent_s: float = 0.0) -> Path:
    """The lease of a process on another machine without a heartbeat for so long."""
    path = launch_lease_file(work)
    path.write_text(json.dumps({"host": "node7", "pid": 7, "since": "today", "holder": holder}))
    os.utime(path, (time.time() - silent_s, time.time() - silent_s))
    return path


def test_a_lease_names_what_holds_it(tmp_path: Path) -> None:
    with work_lease(tmp_path, holder="gate"):
        found = LaunchLease.read(launch_lease_file(tmp_path))
    assert found is not None
    assert (found.holder, found.host, found.pid) == ("gate", HERE, os.getpid())
    assert not launch_lease_file(tmp_path).exists()


def test_a_launch_elsewhere_is_reported_at_once(tmp_path: Path) -> None:
    elsewhere(tmp_path, "launch")
    began = time.monotonic()
    with (
        pytest.raises(UserError, match=r"another launch is running in .* process 7 on node7"),
        work_lease(tmp_path),
    ):
        pass
    assert time.monotonic() - began < 2


def test_a_gate_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, waits = elsewhere(tmp_path, "gate"), []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            path.unlink()

    monkeypatch.setattr(time, "sleep", sleep)
    with work_lease(tmp_path):
        assert len(waits) == 3
    (message,) = caplog.messages
    assert "a gate submits nodes" in message
    assert "waiting for it" in message


def test_a_gate_that_does_not_leave_is_named_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(tmp_path, "gate")
    monkeypatch.setattr(lease, "GATE_WAIT_S", 0)
    with (
        pytest.raises(UserError, match=r"a gate submits nodes in .* process 7 on node7"),
        work_lease(tmp_path),
    ):
        pass


def test_a_gate_with_the_lease_is_no_launch(tmp_path: Path) -> None:
    elsewhere(tmp_path, "gate")
    assert find_launch_process(tmp_path) is None
    elsewhere(tmp_path, "launch")
    assert find_launch_process(tmp_path) is not None


def test_cancel_does_not_send_a_user_to_a_gate(tmp_path: Path, work: Path) -> None:
    assert launch("stage=all", one_row_recipe(tmp_path), f"work={work}").code == 0
    elsewhere(work, "gate")
    ended = run_command(f"work={work}", module="cancel")
    assert (ended.code, "nothing to cancel" in ended.out) == (0, True), ended


def test_a_holder_that_was_stalled_leaves_the_lease_of_its_successor(tmp_path: Path) -> None:
    with work_lease(tmp_path):
        # Silent for three minutes: another machine has taken it over meanwhile.
        launch_lease_file(tmp_path).unlink()
        path = elsewhere(tmp_path, "launch")
    found = LaunchLease.read(path)
    assert found is not None
    assert found.host == "node7"


def test_a_holder_that_was_stalled_does_not_refresh_the_lease_of_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.01)
    with work_lease(tmp_path):
        launch_lease_file(tmp_path).unlink()
        path = elsewhere(tmp_path, "launch", silent_s=60)
        before = path.stat().st_mtime_ns
        time.sleep(0.2)
        assert path.stat().st_mtime_ns == before


def test_the_lease_of_a_process_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    LaunchLease(host=HERE, pid=gone.pid, since="today").write(launch_lease_file(tmp_path))
    with work_lease(tmp_path):
        pass
    elsewhere(tmp_path, "launch", silent_s=HEARTBEAT_TIMEOUT_S + 9)
    with work_lease(tmp_path):
        found = LaunchLease.read(launch_lease_file(tmp_path))
        assert found is not None
        assert found.pid == os.getpid()


@pytest.mark.parametrize("text", ["{", "", "null", "[]", '{"host": "%s", "pid": -1, "since": "x"}'])
def test_a_damaged_lease_belongs_to_no_process_and_is_put_aside(tmp_path: Path, text: str) -> None:
    launch_lease_file(tmp_path).write_text(text.replace("%s", socket.gethostname()))
    assert find_launch_process(tmp_path) is None
    with work_lease(tmp_path) as lease:
        lease.require()
    assert not launch_lease_file(tmp_path).exists()
    assert len(list(tmp_path.glob("launch.lease.damaged-*"))) == 1


def test_a_folder_or_a_link_to_nothing_in_the_place_of_a_lease_is_put_aside(tmp_path: Path) -> None:
    launch_lease_file(tmp_path).mkdir()
    with work_lease(tmp_path):
        pass
    launch_lease_file(tmp_path).symlink_to(tmp_path / "nothing")
    with work_lease(tmp_path) as lease:
        lease.require()
    assert not launch_lease_file(tmp_path).exists()


@pytest.mark.parametrize(
    ("arguments", "is_launch"),
    [
        (["/opt/env/bin/hala", "launch", "stage=all"], True),
        (["hala_hpc", "launch"], True),
        (["hala_hpc.launch", "stage=all"], True),
        (["/opt/env/bin/hala", "status", "recipe=launch"], False),
        (["hala_hpc.status", "launch"], False),
    ],
)
def test_a_process_with_the_number_of_a_launch_is_distinguished_from_one(
    tmp_path: Path, arguments: list[str], is_launch: bool
) -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    # Its command line can be read from then on.
    child.stdout.readline()
    try:
        held = {"host": HERE, "pid": child.pid, "since": "today", "holder": "launch"}
        launch_lease_file(tmp_path).write_text(json.dumps(held))
        assert (find_launch_process(tmp_path) is not None) == is_launch
    finally:
        child.communicate()
