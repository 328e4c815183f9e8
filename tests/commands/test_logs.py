"""Logs finds the right lines of the right attempt, and names the attempt above them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import CommandResult, launch, run_command
from held import JobHold
from slow_run import standin_variables, write_stand_in_recipe

from benchmarks.common.waiting import WAIT_S, wait_until
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.job_records import AttemptRecord, Claim, FailureReason, FailureReport, Progress
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.records import (
    NodeConfig,
    NodeSummary,
    Round,
    RoundSpec,
    RunNodeRecord,
    RunRecord,
    UnitMarker,
)
from hala_hpc.core.resources import Resources
from hala_hpc.core.run import run_file

#: A node with two workers, in its second round.
ROUND = Round(
    round=2,
    key="",
    assignment=((0, 2), (1, 3)),
    progress_before=(),
    began=0,
    spec=RoundSpec(
        launcher=Launcher(name="mine", backend="slurm"),
        env="main",
        commit="",
        settings={},
        resources=Resources(),
    ),
)


def logs(work: Path, *arguments: str) -> CommandResult:
    return run_command(f"work={work}", *arguments, module="logs")


def attempt(worker: int, job: str, number: int = 2, restarts: int = 0) -> str:
    return f"r{number:04d}-w{worker:05d}-{job}-{restarts}"


class Folder:
    """A run of two nodes whose workers left the files that a test needs."""

    def __init__(self, work: Path) -> None:
        self.work = work
        nodes = tuple(
            RunNodeRecord(name=name, stage="translate", units=4, artifact=f"{name}-0123456789ab")
            for name in ("first", "second")
        )
        overrides = {"stage": "all", "work": str(work)}
        RunRecord(overrides=overrides, recipe="demo", nodes=nodes).write(run_file(work))
        self.first, self.second = (Artifact(work / node.artifact) for node in nodes)
        for node, artifact in zip(nodes, (self.first, self.second), strict=True):
            artifact.write_config(NodeConfig(node=node.name, stage="translate", units=4))
            artifact.write_round(ROUND)

    def log(
        self, artifact: Artifact, name: str, text: str, rank: int = 0, began: float = 0
    ) -> None:
        path = artifact.log_file(int(name[7:12]), rank)
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            moment = time.strftime("%F %T", time.localtime(began))
            file.write(f"--- {moment} {name} on node7\n{text}")

    def end(self, artifact: Artifact, name: str, code: int, ended: float, rank: int = 0) -> None:
        file = name if rank == 0 else f"{name}-rank{rank}"
        AttemptRecord(
            worker=int(name[7:12]),
            rank=rank,
            host="node7",
            code=code,
            reasons=(f"reason {code}",) if code else (),
            began=ended - 5,
            seconds=5,
        ).write(artifact.attempt_file(file))

    def fail(self, artifact: Artifact, code: int, moment: float) -> None:
        reasons = (FailureReason(text="why"),)
        FailureReport(code=code, reasons=reasons, time=moment).write(artifact.failure_file)


@pytest.fixture
def folder(work: Path) -> Folder:
    return Folder(work)


def test_the_first_failure_of_the_node_that_failed_last_is_shown(folder: Folder) -> None:
    early, late, old = attempt(1, "9_1"), attempt(0, "9_0"), attempt(0, "3_0", 1)
    for artifact in (folder.first, folder.second):
        folder.log(artifact, old, "an older round\n")
        folder.log(artifact, late, "follows from it\n")
        folder.log(artifact, early, "stopped\n")
        folder.log(artifact, early, "the first cause\n", rank=1)
        folder.end(artifact, old, 70, 5)
        folder.end(artifact, late, 70, 30)
        folder.end(artifact, early, 75, 21)
        folder.end(artifact, early, 70, 20, rank=1)
    folder.fail(folder.first, 70, 50)
    folder.fail(folder.second, 66, 60)
    ended = logs(folder.work)
    assert ended.code == 0, ended
    head, *lines = ended.out.splitlines()
    assert head.startswith(
        f"first: worker 1, rank 1, attempt {early} on node7, exit code 70 (a defect): reason 70 ("
    )
    assert lines == ["the first cause"]
    assert logs(folder.work, "node=second").out.startswith("second: worker 1, rank 1, ")


def test_a_unit_leads_to_the_attempt_that_made_it_or_has_it(folder: Folder) -> None:
    made, later = attempt(0, "9_0"), attempt(0, "9_0", 2, 1)
    folder.log(folder.first, made, "made unit 1\n")
    folder.log(folder.first, later, "made nothing\n")
    folder.log(folder.first, attempt(1, "9_1"), "at unit 3 and 2\n")
    folder.first.write_marker(UnitMarker(unit=1, attempt=made))
    Claim(worker=1).claim(folder.first.claim_file(2))
    shown = {u: logs(folder.work, "node=first", f"unit={u}").out.splitlines() for u in range(4)}
    # Unit 1 was meant for worker 1, unit 2 for worker 0: others took them.
    assert {unit: lines[1] for unit, lines in shown.items()} == {
        0: "made nothing",
        1: "made unit 1",
        2: "at unit 3 and 2",
        3: "at unit 3 and 2",
    }
    assert "left no record: it was killed" in shown[3][0]
    wrong = logs(folder.work, "node=first", "unit=4")
    assert (wrong.code, "has units 0 to 3" in wrong.err) == (64, True)


def test_an_attempt_is_named_or_counted(folder: Folder) -> None:
    names = [attempt(1, "9_1", 2, restarts) for restarts in range(3)]
    for name in names:
        folder.log(folder.first, name, f"lines of {name}\n")
    arguments = ("node=first", "worker=1")
    assert logs(folder.work, *arguments).out.splitlines()[1] == f"lines of {names[2]}"
    for value in ("2", names[1]):
        lines = logs(folder.work, *arguments, f"attempt={value}").out.splitlines()
        assert lines[1:] == [f"lines of {names[1]}"]
    assert logs(folder.work, "node=first", f"attempt={names[0]}").out.splitlines()[1:] == [
        f"lines of {names[0]}"
    ]
    wrong = logs(folder.work, *arguments, "attempt=9")
    assert (wrong.code, "a number from 1 to 3" in wrong.err) == (64, True)


def test_only_the_last_lines_are_shown_and_none_obeys_a_terminal(folder: Folder) -> None:
    many = "".join(f"line {number} {'x' * 500}\n" for number in range(1000))
    screen = "a bar  10%\ra bar  90%\r\n\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07\ncut bar 50%"
    folder.log(folder.first, attempt(0, "1_0"), many + screen)
    folder.log(folder.first, attempt(0, "2_0"), "after a bar that was cut\n")
    arguments = ("node=first", "worker=0", "attempt=1", "lines=303")
    lines = logs(folder.work, *arguments).out.split("\n")[1:-1]
    assert len(lines) == 303
    assert lines[0].startswith("line 700 ")
    assert lines[300:] == ["a bar  90%", "red bell", "cut bar 50%"]
    newest = logs(folder.work, "node=first", "worker=0").out.splitlines()
    assert newest[1:] == ["after a bar that was cut"]


def test_what_is_at_work_is_reported_so_and_what_failed_before_is_shown(folder: Folder) -> None:
    name = attempt(0, "9_0")
    folder.log(folder.first, name, "at it\n")
    progress = Progress(worker=0, rank=0, attempt=name, began=0, time=time.time() + 50)
    progress.write(folder.first.progress_file(0))
    assert ", running (" in logs(folder.work).out
    folder.log(folder.second, attempt(1, "4_1", 1), "a defect\n")
    folder.end(folder.second, attempt(1, "4_1", 1), 70, 20)
    assert logs(folder.work).out.startswith("second: worker 1, rank 0")


def test_an_old_failure_of_what_is_done_is_not_shown_as_the_failure(folder: Folder) -> None:
    old, new = attempt(0, "3_0", 1), attempt(0, "9_0")
    for artifact in (folder.first, folder.second):
        folder.log(artifact, old, "the old failure\n")
        folder.end(artifact, old, 66, 10)
        folder.log(artifact, new, "all went well\n")
        folder.end(artifact, new, 0, 20)
        artifact.write_summary(NodeSummary(node="n", stage="translate", units=4))
    for arguments in ((), ("node=first",)):
        ended = logs(folder.work, *arguments)
        assert ended.code == 0, ended
        assert "all went well" in ended.out
        assert "the old failure" not in ended.out
    assert "nothing has failed" in logs(folder.work).out
    assert "the old failure" in logs(folder.work, "node=first", f"attempt={old}").out


def test_what_begins_or_ends_in_this_moment_is_not_taken_for_dead(folder: Folder) -> None:
    name = attempt(0, "9_0")
    # Less than a minute from now, also when the answer takes a minute.
    folder.log(folder.first, name, "", began=time.time() + 50)
    assert ", running, begun less than a minute ago (" in logs(folder.work).out
    ended = Progress(worker=0, rank=0, attempt=name, began=0, time=time.time() + 50, ended=True)
    ended.write(folder.first.progress_file(0))
    assert ", running (" in logs(folder.work).out
    older = ended.model_copy(update={"time": time.time() - 90})
    older.write(folder.first.progress_file(0))
    later = attempt(0, "9_0", 2, 1)
    folder.log(folder.first, later, "", began=time.time() - 90)
    assert "left no record: it was killed" in logs(folder.work).out


def test_mistakes_are_named(folder: Folder) -> None:
    assert "there is no log yet" in logs(folder.work).err
    assert "write one of them" in logs(folder.work, "unit=1", "worker=2").err
    assert "name one node" in logs(folder.work, "unit=1").err
    assert "did you mean 'first'" in logs(folder.work, "node=frst").err
    assert "write a whole number" in logs(folder.work, "node=first", "unit=x").err
    assert "has not begun" in logs(folder.work, "node=first", "worker=1").err


@pytest.mark.slow
def test_the_traceback_of_a_real_run_is_found(tmp_path: Path, work: Path) -> None:
    arguments = ["stage=all", write_stand_in_recipe(tmp_path, 20), f"work={work}"]
    variables = standin_variables() | {"HALA_STANDIN_STEP_S": "not a number"}
    ended = launch(*arguments, **variables)  # type: ignore[arg-type]
    assert ended.code == 70, ended
    shown = logs(work, "lines=3")
    head, *lines = shown.out.splitlines()
    assert head.startswith("arabic: worker 0, rank 0, attempt r0002-w00000-")
    assert "exit code 70 (a defect): ValueError: could not convert string to float" in head
    assert lines[-1].endswith("ValueError: could not convert string to float: 'not a number'")


@pytest.mark.slow
def test_a_log_is_followed_until_its_node_ends(tmp_path: Path, work: Path) -> None:
    arguments = ["stage=english,arabic", write_stand_in_recipe(tmp_path), f"work={work}"]
    held, output = JobHold(tmp_path, after=100), tmp_path / "output"
    follow = ["hala_hpc.logs", f"work={work}", "node=arabic", "follow=true"]
    with subprocess.Popen(
        [sys.executable, "-m", "hala_hpc.launch", *arguments],
        env={**os.environ, **standin_variables(held=held)},
        stdout=subprocess.DEVNULL,
    ) as running:
        log = work / "latest/arabic/logs/worker-00000-0000.log"
        wait_until(log.exists, "the log of the worker")
        with (
            log.open("a") as file,
            output.open("w") as stream,
            subprocess.Popen([sys.executable, "-m", *follow], stdout=stream) as following,
        ):
            wait_until(lambda: "\n" in output.read_text(), "the first line of the answer")
            file.write("a line that comes later\n")
            file.flush()
            wait_until(lambda: "a line that comes later" in output.read_text(), "the line, at once")
            held.release()
            assert following.wait(WAIT_S) == 0
        assert "running" in output.read_text().splitlines()[0]
        assert running.wait(WAIT_S) == 0
    assert json.loads((work / "latest/arabic/summary.json").read_text())["rows_out"] == 600
