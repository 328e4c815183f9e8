"""An attempt whose process the kernel killed reports it, with the numbers."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.common.waiting import WAIT_S
from hala_hpc.core.cgroup_memory import (
    MemoryRecord,
    explain_child_exit,
    read_cgroup_v1,
    read_cgroup_v2,
)
from hala_hpc.core.files import read_json

LIMIT_MIB = 256
#: A worker whose model code is another program, in a group of its own where one is given.
WORKER = """
import sys
from pathlib import Path
folder, program, group = sys.argv[1:]
if group:
    (Path(group) / "cgroup.procs").write_text("0")
from hala_hpc.core.artifact import Artifact
from hala_hpc.worker import Supervisor
sys.executable = program
sys.exit(Supervisor(Artifact(Path(folder)), 0).run())
"""
#: Takes 1 MiB after the other, up to 8 times the limit.
GLUTTON = f"held = [bytearray(b'x' * 2**20) for _ in range({8 * LIMIT_MIB})]"
#: Its child is killed for its memory; then it leaves as an attempt whose engine died.
HOST = f'import subprocess, sys; subprocess.run([sys.executable, "-c", "{GLUTTON}"]); sys.exit(75)'
SUICIDE = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def group() -> Iterator[Path]:
    """A real memory group of version 1 or 2 with a limit, if this machine allows it."""
    roots = {
        Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes",
        Path("/sys/fs/cgroup"): "memory.max",
    }
    for root, limit_file in roots.items():
        group = root / f"hala-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit_file).write_text(str(LIMIT_MIB * 2**20))
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no memory group can be made here: that takes root and a writable /sys/fs/cgroup")


def run_worker(base: Path, code: str, group: Path | str = "") -> tuple[int, list[str]]:
    """Exit code of a worker whose model code is `code`, and the reasons in its record."""
    program = base / "model-code"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o700)
    folder = base / "artifact"
    (folder / "attempts").mkdir(parents=True)
    command = [sys.executable, "-c", WORKER, str(folder), str(program), str(group)]
    worker = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert not worker.stderr
    [record] = (folder / "attempts").glob("r0000-*.json")
    return worker.returncode, read_json(record)["reasons"]


@pytest.mark.parametrize("code", [GLUTTON, HOST], ids=["itself", "its child"])
def test_a_process_that_the_kernel_killed_is_recognized(
    code: str, tmp_path: Path, group: Path
) -> None:
    status, reasons = run_worker(tmp_path, code, group)
    assert status == 75
    assert reasons == [
        "the kernel killed it: out of memory at 0.2 of 0.2 GB; raise resources.mem_gb"
    ]


def test_another_kill_is_not_taken_for_one_by_the_kernel(tmp_path: Path, group: Path) -> None:
    assert run_worker(tmp_path, SUICIDE, group) == (75, ["killed by SIGKILL"])


def test_an_end_of_its_own_has_no_reason_of_ours(tmp_path: Path) -> None:
    assert run_worker(tmp_path, "import sys; sys.exit(70)") == (70, [])


def test_without_counters_a_kill_is_a_guess() -> None:
    guess = "killed by SIGKILL; perhaps out of memory: resources.mem_gb is its limit"
    assert explain_child_exit(-signal.SIGKILL, None, None) == guess
    assert explain_child_exit(-signal.SIGSEGV, None, None) == "killed by SIGSEGV"
    assert explain_child_exit(70, None, None) == ""


def test_numbers_that_the_kernel_does_not_report_are_left_out() -> None:
    before = MemoryRecord(0, None, 2**36)
    assert explain_child_exit(-9, before, MemoryRecord(1, None, 2**36)) == (
        "the kernel killed it: out of memory at its limit of 64.0 GB; raise resources.mem_gb"
    )
    assert explain_child_exit(-9, before, MemoryRecord(1, None, None)) == (
        "the kernel killed it: out of memory of the whole machine; raise resources.mem_gb"
    )


def write(folder: Path, **files: str) -> Path:
    """A group's folder with its files."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(text)
    return folder


def test_the_tightest_limit_around_a_group_of_version_2_counts(tmp_path: Path) -> None:
    job = write(tmp_path / "job", events="oom_kill 3\n", max="67108864\n", peak="65011712\n")
    step = write(job / "step", events="low 0\noom_kill 2\n", max="max\n", peak="1\n")
    assert read_cgroup_v2(step / "user") == MemoryRecord(2, 65011712, 67108864)
    assert read_cgroup_v2(tmp_path / "elsewhere") is None


def test_the_limit_of_a_group_of_version_1_may_be_that_of_its_job(tmp_path: Path) -> None:
    job = write(tmp_path / "job", limit_in_bytes="67108864\n", max_usage_in_bytes="67100000\n")
    task = write(
        job / "task",
        limit_in_bytes="9223372036854771712\n",
        stat="cache 0\nhierarchical_memory_limit 67108864\n",
        oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    )
    assert read_cgroup_v1(task) == MemoryRecord(1, 67100000, 67108864)
    assert read_cgroup_v1(job) is None
