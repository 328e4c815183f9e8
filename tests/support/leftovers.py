"""End processes, jobs and SLURM clusters that tests leave behind, each by its id.

Every process that a test run starts inherits HALA_TEST_RUN; processes that the code of a test and
not a fixture started inherit HALA_TEST too. What a test started is ended after it failed or timed
out; what a run started is ended at its end. A run also ends, at its start, what killed runs left. A
file records each live run, so that two may run at once.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

RUN, TEST = "HALA_TEST_RUN", "HALA_TEST"
MINISLURM = Path(__file__).resolve().parents[2] / "slurm" / "minislurm"
#: File that identifies a folder of `slurm/minislurm`.
CLUSTER = "minislurm.json"


class RunRecord:
    """The file that records the process of a test run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.file = runs_folder() / f"{name}.json"

    def write(self) -> None:
        """Record this process as the run."""
        self.file.parent.mkdir(mode=0o700, exist_ok=True)
        self.file.write_text(json.dumps([os.getpid(), start_of(os.getpid())]))

    def is_alive(self) -> bool:
        """Whether the process that wrote the file still runs; its pid may have been reused."""
        try:
            pid, start = json.loads(self.file.read_text())
        except (OSError, ValueError):
            return False
        return bool(start) and start_of(pid) == start


def runs_folder() -> Path:
    """Folder of the run records of this user on this machine."""
    return Path(tempfile.gettempdir()) / f"hala-test-runs-{os.getuid()}"


def start_of(pid: int) -> str:
    """Start time of a process in clock ticks since boot; empty if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def processes_of(variable: str, value: str) -> Iterator[tuple[int, Path | None]]:
    """Processes with a variable of this value, and the minislurm folder of each, if any."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        pid = int(process.name)
        if f"{variable}={value}".encode() in variables and pid != os.getpid():
            conf = next((v for v in variables if v.startswith(b"SLURM_CONF=")), b"").decode()
            yield pid, Path(conf.partition("=")[2]).parent if conf else None


def end_all(variable: str, value: str) -> None:
    """End the clusters with a variable in their environment, then all other such processes."""
    for folder in {folder for _, folder in processes_of(variable, value)}:
        if folder and (folder / CLUSTER).exists() and has_daemon_of(folder, variable, value):
            command = [sys.executable, str(MINISLURM), "down", "--folder", str(folder)]
            subprocess.run(command, capture_output=True, timeout=120, check=False)
    for pid, _ in processes_of(variable, value):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def has_daemon_of(folder: Path, variable: str, value: str) -> bool:
    """Whether a daemon of a cluster has the variable: then the test run started the cluster."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((folder / "munged.pid").read_text())
        return any(pid == one for one, _ in processes_of(variable, value))
    return False


def end_dead_runs() -> None:
    """End what killed runs left behind."""
    for file in runs_folder().glob("*.json"):
        record = RunRecord(file.stem)
        if not record.is_alive():
            end_all(RUN, record.name)
            record.file.unlink(missing_ok=True)


def jobs() -> set[str]:
    """Ids of the queued jobs of the cluster in SLURM_CONF; empty without one."""
    if "SLURM_CONF" not in os.environ:
        return set()
    command = ["squeue", "--noheader", "--format=%A"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return set(done.stdout.split())


def pytest_configure(config: pytest.Config) -> None:
    """Start a run; a run inside a test of another run inherits its variables."""
    del config
    if RUN not in os.environ:
        end_dead_runs()
        os.environ[RUN] = uuid4().hex
        RunRecord(os.environ[RUN]).write()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End a run."""
    del config
    record = RunRecord(os.environ.get(RUN, ""))
    if record.is_alive() and json.loads(record.file.read_text())[0] == os.getpid():
        end_all(RUN, record.name)
        record.file.unlink(missing_ok=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Tag processes that a test starts, and end them if the test fails."""
    # Without a cluster there is no queue.
    before = jobs() if item.get_closest_marker("slurm") else None
    children = {child.pid for child in multiprocessing.active_children()}
    outer = os.environ.get(TEST)
    os.environ[TEST] = uuid4().hex
    try:
        return (yield)
    except pytest.skip.Exception:
        raise
    except BaseException:
        end_test(os.environ[TEST], before, children)
        raise
    finally:
        os.environ.pop(TEST)
        if outer:
            os.environ[TEST] = outer


def end_test(name: str, before: set[str] | None, children: set[int | None]) -> None:
    """End what a failed test left behind: jobs, ranks, processes."""
    left = sorted(jobs() - before) if before is not None else []
    if left:
        subprocess.run(["scancel", *left], capture_output=True, timeout=60, check=False)
    for child in multiprocessing.active_children():
        if child.pid not in children:
            child.kill()
    end_all(TEST, name)
