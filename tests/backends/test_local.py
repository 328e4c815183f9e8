"""Jobs as local processes: their setup, and none outlives its launch."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from command_line import launch, one_row_recipe, run_command
from held import JobHold
from leftovers import processes_of, start_of

from benchmarks.common.waiting import WAIT_S, wait_until
from hala_hpc.backends import local
from hala_hpc.backends.local import SetupFailed, run_element
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import CONFIG
from hala_hpc.core.job import Job
from hala_hpc.core.resources import Resources

#: Writes the environment of a rank.
PROGRAM = """
import json, os, sys
names = ("FROM_SETUP", "OVERRIDDEN", "RANK", "WORLD_SIZE", "HALA_JOB_ID")
seen = {name: os.environ.get(name, "") for name in names}
with open(f"{sys.argv[1]}/seen-{seen['RANK']}.json", "w") as file:
    json.dump({**seen, "arguments": sys.argv[2:], "names": sorted(os.environ)}, file)
"""

#: A launch with a shorter stop timeout for its workers.
LAUNCH = """
from hala_hpc.backends import local
from hala_hpc.launch import main
local.STOP_WAIT_S = 2
main()
"""
VARIABLE = "HALA_TEST_FAMILY"


class Family:
    """A launch on this machine with its worker and the worker's attempt, which is held."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]", family: str) -> None:
        self.launch, self.family = process, family
        self.work = folder / "work"

    def attempt(self) -> int:
        """Pid of the attempt, once it is running."""
        wait_until(self.pids_of_attempts, "a sign of life of the attempt")
        return self.pids_of_attempts()[0]

    def pids_of_attempts(self) -> list[int]:
        """Pids of the attempts that have written their progress."""
        artifacts = [Artifact(path.parent) for path in self.work.glob("corpus-*/config.json")]
        return [progress.pid for one in artifacts for progress in one.progress() if progress.pid]

    def living(self) -> list[int]:
        """The remaining processes."""
        return [pid for pid, _ in processes_of(VARIABLE, self.family)]


@contextmanager
def started(folder: Path) -> Iterator[Family]:
    """A launch whose one worker is held while it prepares a corpus."""
    family_key = uuid4().hex
    overrides = ["stage=all", one_row_recipe(folder), f"work={folder}/work"]
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *overrides],
        env={**os.environ, **JobHold(folder).variables, VARIABLE: family_key},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        family = Family(folder, process, family_key)
        try:
            yield family
        finally:
            for pid in family.living():
                os.kill(pid, signal.SIGKILL)


def job(folder: Path, *setup: str) -> Job:
    (folder / "told_program.py").write_text(PROGRAM)
    return Job(
        name="test",
        module="told_program",
        arguments=(str(folder), "a word with blanks"),
        python=sys.executable,
        resources=Resources(ranks_per_node=2),
        folder=folder,
        array_size=1,
        environment={"PYTHONPATH": str(folder), "OVERRIDDEN": "by the job"},
        setup=setup,
    )


def test_the_setup_lines_of_a_launcher_run_before_each_rank(tmp_path: Path) -> None:
    lines = ("export FROM_SETUP='loaded once'", "export OVERRIDDEN=setup")
    assert run_element(job(tmp_path, *lines), 0, lambda: None) == 0
    ranks = [json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in range(2)]
    assert [rank["FROM_SETUP"] for rank in ranks] == ["loaded once"] * 2
    assert [rank["OVERRIDDEN"] for rank in ranks] == ["by the job"] * 2
    assert [rank["RANK"] for rank in ranks] == ["0", "1"]
    assert len({rank["HALA_JOB_ID"] for rank in ranks}) == 1
    assert ranks[0]["arguments"] == ["a word with blanks", "0"]


def test_a_setup_line_that_fails_ends_the_job_before_its_program(tmp_path: Path) -> None:
    lines = ("echo no such module >&2", "(exit 3)")
    with pytest.raises(SetupFailed) as result:
        run_element(job(tmp_path, *lines), 0, lambda: None)
    assert result.value.code == CONFIG
    assert "code 3" in str(result.value)
    assert "no such module" in result.value.printed.read_text().splitlines()
    assert not list(tmp_path.glob("seen-*"))


@pytest.mark.parametrize("line", ["module load no/such", "false"])
def test_status_and_logs_show_why_a_setup_line_failed(tmp_path: Path, line: str) -> None:
    launcher = tmp_path / "here.toml"
    launcher.write_text(f'backend = "local"\nsetup = ["{line}"]\n')
    work = f"work={tmp_path / 'work'}"
    done = launch("stage=all", one_row_recipe(tmp_path), f"launcher={launcher}", work)
    assert (done.code, "again:" in done.err) == (CONFIG, False), done
    result = run_command(work, "format=json", module="status")
    [node] = json.loads(result.out)["nodes"]
    assert node["state"] == "failed"
    for shown_output in (done.err, node["why"], run_command(work, module="logs").out):
        assert "a setup line of the launcher ended with code" in shown_output
        assert f"setup: {line}" in shown_output
        assert ("module: command not found" in shown_output) is ("module" in line)


def test_a_program_that_fails_is_not_taken_for_a_setup_line_of_another_rank(tmp_path: Path) -> None:
    slow = job(tmp_path, "[[ $RANK = 0 ]] || sleep 100")
    (tmp_path / "told_program.py").write_text("raise SystemExit(7)\n")
    assert run_element(slow, 0, lambda: None) == 7


def test_output_of_setup_lines_stays_and_an_empty_file_does_not(tmp_path: Path) -> None:
    assert run_element(job(tmp_path, "echo loaded"), 0, lambda: None) == 0
    [printed] = tmp_path.glob("job-*.out")
    assert printed.read_text() == "loaded\nloaded\n"
    printed.unlink()
    assert run_element(job(tmp_path, "true"), 0, lambda: None) == 0
    assert not list(tmp_path.glob("job-*.out"))


def test_without_setup_lines_the_program_is_the_process_itself(tmp_path: Path) -> None:
    assert run_element(job(tmp_path), 0, lambda: None) == 0
    assert json.loads((tmp_path / "seen-1.json").read_text())["FROM_SETUP"] == ""


#: Variables of a step in an allocation of two nodes, as set by srun and MPI launchers.
ALLOCATION = {
    "SLURM_JOB_ID": "283",
    "SLURM_PROCID": "1",
    "SLURM_NTASKS": "2",
    "SLURM_NNODES": "2",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_NODELIST": "node[1-2]",
    "SLURM_NTASKS_PER_NODE": "1",
    "PMI_RANK": "1",
    "PMIX_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "NODE_RANK": "1",
    "HALA_NODE": "node2",
    "CUDA_VISIBLE_DEVICES": "3",
    "SLURM_CONF": "/nowhere/slurm.conf",
    "SLURM_JOB_END_TIME": "1800000000",
}


def test_a_launch_inside_an_allocation_starts_no_ranks_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ALLOCATION.items():
        monkeypatch.setenv(name, value)
    assert run_element(job(tmp_path), 0, lambda: None) == 0
    ranks = [json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in range(2)]
    assert [(one["RANK"], one["WORLD_SIZE"]) for one in ranks] == [("0", "2"), ("1", "2")]
    left = {name for name in ALLOCATION if name in ranks[0]["names"]}
    assert left == {"CUDA_VISIBLE_DEVICES", "SLURM_CONF", "SLURM_JOB_END_TIME"}


@pytest.mark.slow
def test_an_attempt_that_was_stopped_does_not_outlive_a_launch_that_is_asked_to_end(
    tmp_path: Path,
) -> None:
    with started(tmp_path) as family:
        attempt = family.attempt()
        assert attempt in family.living()
        os.kill(attempt, signal.SIGSTOP)
        family.launch.send_signal(signal.SIGINT)
        assert family.launch.wait(WAIT_S) != 0
        wait_until(lambda: not family.living(), "the end of all", state=family.living)


@pytest.mark.slow
def test_an_attempt_that_was_stopped_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    with started(tmp_path) as family:
        attempt = family.attempt()
        supervisor = int(Path(f"/proc/{attempt}/stat").read_text().rpartition(")")[2].split()[1])
        assert supervisor != family.launch.pid
        os.kill(attempt, signal.SIGSTOP)
        os.kill(supervisor, signal.SIGKILL)
        wait_until(lambda: attempt not in family.living(), "its end", state=family.living)


#: Starts children in their own sessions that ignore signals, stops them, and waits.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import time; time.sleep(600)"
children = [subprocess.Popen([sys.executable, "-c", code], start_new_session=True) for _ in "ab"]
for child in children:
    os.kill(child.pid, signal.SIGSTOP)
name = f"{sys.argv[1]}/children-{os.environ['RANK']}"
open(name, "w").write(" ".join(str(child.pid) for child in children) + "\\n")
time.sleep(600)
"""


def test_what_is_below_a_worker_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "STOP_WAIT_S", 0.5)
    stubborn, result = job(tmp_path), [tmp_path / f"children-{rank}" for rank in range(2)]
    (tmp_path / "told_program.py").write_text(STUBBORN)

    def watch() -> None:
        if all(path.exists() and path.read_text().endswith("\n") for path in result):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_element(stubborn, 0, watch)
    children = [int(pid) for path in result for pid in path.read_text().split()]
    assert len(children) == 4
    wait_until(lambda: not any(map(start_of, children)), "the end of all", state=lambda: children)
