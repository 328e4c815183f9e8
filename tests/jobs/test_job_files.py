"""Jobs that ended before our code started: the end of their output file is reported."""

import json
import os
from pathlib import Path

import pytest
from command_line import CommandResult, run_command
from message_checks import assert_message

from hala_hpc.backends.slurm.sacct import NO_STEP
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import CONFIG, FailureClass
from hala_hpc.core.job_records import WorkerLease
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.records import Jobs, NodeConfig, Round, RoundSpec, RunNodeRecord, RunRecord
from hala_hpc.core.resources import Resources
from hala_hpc.core.run import run_file
from hala_hpc.jobs.attempt_records import AttemptName
from hala_hpc.jobs.closing import Verdict, finish_node
from hala_hpc.jobs.failures.evidence import recorded_failures
from hala_hpc.jobs.job_files import job_files

pytestmark = pytest.mark.kinds

#: Output of a `setup` line in the file of its job, between lines of SLURM.
MISSING = "Unable to locate a modulefile for 'cuda/13.0'"
PRINTED = f"slurmstepd: a prolog ran\n{MISSING}\nsrun: error: node1: task 0: Exited\n"


#: Name of the workers' job, with the key of their round.
NAME = "arabic-0123456789ab-beef"


class Node:
    """A node of two units whose round was submitted as array 12 with gate 13."""

    def __init__(self, work: Path, commands: Path) -> None:
        self.work, self.commands = work, commands
        self.artifact = Artifact(work / "arabic-0123456789ab")
        name = self.artifact.folder.name
        listed = RunNodeRecord(name="arabic", stage="translate", units=2, artifact=name)
        run = RunRecord(overrides={"stage": "all"}, recipe="demo", nodes=(listed,))
        run.write(run_file(work))
        self.artifact.write_config(NodeConfig(node="arabic", stage="translate", units=2))
        spec = RoundSpec(
            launcher=Launcher(name="mine", backend="slurm"),
            env="main",
            commit="",
            settings={},
            resources=Resources(workers=2),
        )
        self.artifact.write_round(
            Round(
                round=1,
                key="beef",
                assignment=((0,), (1,)),
                progress_before=("0 units",),
                began=1.0,
                spec=spec,
            )
        )
        self.artifact.write_jobs(Jobs(round=1, submitted=1.0, workers="12", gate="13"))
        self.artifact.logs.mkdir()
        for name in ("squeue", "scontrol", "sinfo"):
            self.add(name, "true")

    def add(self, name: str, body: str) -> None:
        """A command of the cluster."""
        path = self.commands / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def end(self, *codes: str) -> Verdict:
        """Let the workers end with these codes, as reported by accounting, and the gate decide.

        A code is that of the job; behind a bar, that of its worst step.
        """
        both = [code if "|" in code else f"{code}|0:0" for code in codes]
        rows = "".join(f"12_{n}|{NAME}|FAILED|node1|{code}\\n" for n, code in enumerate(both))
        self.add("sacct", f"printf '{rows}'")
        return finish_node(self.artifact)

    def prints(self, job: str, text: str = PRINTED) -> Path:
        """What SLURM wrote of a job."""
        path = self.artifact.logs / f"job-{job}.out"
        path.write_text(text)
        return path

    def ask(self, module: str, *arguments: str) -> CommandResult:
        """One of the commands that watch."""
        return run_command(f"work={self.work}", *arguments, module=module)


@pytest.fixture
def node(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    commands = tmp_path / "commands"
    commands.mkdir()
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_CONF", raising=False)
    return Node(work, commands)


def test_a_set_up_that_fails_everywhere_ends_the_node_with_the_end_of_the_jobs_file(
    node: Node,
) -> None:
    files = [node.prints(f"12_{element}") for element in range(2)]
    node.prints("120_0", "another job, whose number begins alike\n")
    verdict = node.end("1:0", "1:0")
    assert (verdict.state, verdict.code) == ("failed", CONFIG)
    kinds = {failure.kind for failure in recorded_failures(node.artifact, 1)}
    assert kinds == {FailureClass.CONFIG_ERROR}
    report = node.artifact.failure()
    assert report is not None
    assert MISSING in report.reasons[-1].text
    assert str(files[0]) in report.reasons[-1].log_tail[0]
    assert f"  {MISSING}" in report.reasons[-1].log_tail
    result = node.ask("logs")
    assert result.code == 0, result
    assert [result.out.count(str(path)) for path in files] == [1, 1]
    assert MISSING in result.out
    assert "another job" not in result.out
    assert MISSING in node.ask("status").out


#: SLURM subtracts 128 from the code of a job whose step was killed.
KILLED = ["137:0", "0:9", "", "9:0|0:9", "15:0|0:15", f"{NO_STEP}:0"]


@pytest.mark.parametrize("code", KILLED)
def test_a_job_that_was_killed_before_our_code_began_is_tried_again(code: str, node: Node) -> None:
    node.prints("12_0")
    verdict = node.end(code)
    assert verdict.state == "again"
    assert [failure.kind for failure in recorded_failures(node.artifact, 1)] == [
        FailureClass.KILLED
    ]
    assert_message(verdict.lines, MISSING)


def test_a_set_up_that_failed_on_one_element_alone_is_tried_again(node: Node) -> None:
    node.prints("12_0")
    lease = WorkerLease(attempt=str(AttemptName(1, 1, "12_1", 0)), round=1)
    lease.write(node.artifact.lease_file(1))
    assert node.end("1:0").state == "again"
    kinds = {failure.kind for failure in recorded_failures(node.artifact, 1)}
    assert kinds == {FailureClass.KILLED, FailureClass.NO_REPORT}


def test_an_exit_code_that_only_the_controller_knows_counts(node: Node) -> None:
    """Accounting may come late, or be none at all."""
    node.prints("12_0")
    node.add("squeue", f"echo '12|0|{NAME}|FAILED|node1|NonZeroExitCode'")
    node.add("scontrol", f"echo 'JobId=14 ArrayJobId=12 ArrayTaskId=0 JobName={NAME} ExitCode=1:0'")
    node.add("sacct", "exit 1")
    assert finish_node(node.artifact).code == CONFIG


def test_a_kill_that_only_the_controller_knows_counts(node: Node) -> None:
    node.prints("12_0")
    node.add("squeue", f"echo '12|0|{NAME}|FAILED|node1|NonZeroExitCode'")
    codes = "ExitCode=9:0 DerivedExitCode=0:9"
    node.add("scontrol", f"echo 'JobId=14 ArrayJobId=12 ArrayTaskId=0 JobName={NAME} {codes}'")
    node.add("sacct", "exit 1")
    assert finish_node(node.artifact).state == "again"


def test_ends_of_other_jobs_with_the_number_of_ours_are_no_evidence(node: Node) -> None:
    """A controller that lost its state has used the id before, or reuses it."""
    other = "arabic-0123456789ab-cafe"
    for element in range(2):
        node.prints(f"12_{element}")
    rows = "".join(f"12_{element}|{other}|FAILED|node1|1:0|0:0\\n" for element in range(2))
    node.add("sacct", f"printf '{rows}'")
    node.add("squeue", f"echo '12|0|{other}|OUT_OF_MEMORY|node1|None'")
    node.add(
        "scontrol", f"echo 'JobId=14 ArrayJobId=12 ArrayTaskId=0 JobName={other} ExitCode=1:0'"
    )
    assert finish_node(node.artifact).state == "again"
    assert recorded_failures(node.artifact, 1) == ()


def test_a_gate_that_died_before_our_code_began_is_reported_with_its_file(node: Node) -> None:
    workers, gate = node.prints("12_0", "the workers' own\n"), node.prints("13")
    result = json.loads(node.ask("status", "format=json").out)["nodes"][0]
    assert result["state"] == "new"
    assert str(gate) in result["why"]
    assert MISSING in result["why"]
    printed = node.ask("logs")
    assert printed.code == 0, printed
    assert str(workers) in printed.out
    assert str(gate) in printed.out
    assert MISSING in printed.out


def test_a_gate_that_died_after_workers_that_began_is_reported_with_its_file(node: Node) -> None:
    gate = node.prints("13")
    log = node.artifact.log_file(0)
    log.write_text(f"--- 2026-11-30 08:00:00 {AttemptName(1, 0, '12_0', 0)} on node1\nall well\n")
    printed = node.ask("logs")
    assert printed.code == 0, printed
    assert "all well" in printed.out
    assert str(gate) in printed.out
    assert MISSING in printed.out


def test_files_are_those_of_a_job_and_of_its_elements_alone(node: Node) -> None:
    own = [node.prints("12"), node.prints("12_3")]
    node.prints("123")
    node.prints("112_3")
    node.prints("12_4", "")
    assert job_files(node.artifact, ["12"]) == own
    assert job_files(node.artifact, []) == []
