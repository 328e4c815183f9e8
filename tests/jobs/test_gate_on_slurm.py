"""A node that fails on a real SLURM: its reason is reported, and no job waits for it forever."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from checkout import ROOT
from command_line import launch, recipe, run_command
from held import JobHold, minislurm_launcher

from benchmarks.common.waiting import WAIT_S, wait_until
from hala_hpc.core.errors import FailureClass

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("minislurm")]


def states(work: Path) -> dict[str, str]:
    result = run_command(f"work={work}", "format=json", module="status")
    return {node["name"]: node["state"] for node in json.loads(result.out)["nodes"]}


def test_bad_data_fails_its_node_and_cancels_who_waits(tmp_path: Path, work: Path) -> None:
    rows = '{"instruction": "Say hello.", "output": "Hello."}\n' + "{broken\n" * 9
    (tmp_path / "rows.jsonl").write_text(rows)
    argument = recipe(
        tmp_path,
        f'[corpus]\nstage = "prepare"\ndata = "{tmp_path}/rows.jsonl"\n'
        "[corpus.resources]\ncpus_per_rank = 1\nmem_gb = 1\n"
        '[report]\nnodes = ["@corpus"]\n',
    )
    held = JobHold(tmp_path)
    launcher = minislurm_launcher(tmp_path, held.variables)
    ended = launch("stage=all", argument, f"work={work}", launcher)
    assert ended.code == 0, ended
    assert set(states(work).values()) <= {"waiting", "running"}
    held.release()
    wait_until(
        lambda: not set(states(work).values()) & {"waiting", "running"},
        "the end of both nodes",
        pause_s=1,
        state=lambda: states(work),
    )
    assert states(work) == {"corpus": "failed", "report": "failed"}
    failure = json.loads((work / "latest/corpus/failure.json").read_text())
    assert failure["code"] == 65
    assert "9" in failure["reasons"][0]["text"]
    waited = json.loads((work / "latest/report/failure.json").read_text())
    (reason,) = waited["reasons"]
    assert reason["kind"] == FailureClass.SECONDARY
    assert reason["text"] == "input corpus was not finished"
    assert len(list((work / "latest/report/rounds").iterdir())) == 1
    jobs = json.loads((work / "latest/report/jobs.json").read_text())
    ends = subprocess.run(
        [
            "sacct",
            "--noheader",
            "--allocations",
            "--parsable2",
            "--format=State",
            f"--jobs={jobs['workers']}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_S,
    )
    assert ends.stdout.startswith("CANCELLED")


def test_a_job_that_slurm_refuses_leaves_nothing_behind(tmp_path: Path, work: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say hello.", "output": "Hello."}\n')
    argument = recipe(tmp_path, f'[corpus]\nstage = "prepare"\ndata = "{tmp_path}/rows.jsonl"\n')
    ended = launch(
        "stage=all",
        argument,
        f"work={work}",
        "launcher=minislurm",
        "corpus.resources.options.partition=nowhere",
    )
    assert ended.code == 78, ended
    assert "partition" in ended.err
    assert not work.exists()


#: A gate waits for a file before it decides, as if it had much to collect.
SLOW_GATE = """
import os, sys, time
if "hala_hpc.gate" in sys.orig_argv:
    open({began!r}, "a").write(f"{{os.getpid()}}\\n")
    deadline = time.monotonic() + 100
    while not os.path.exists({decision!r}) and time.monotonic() < deadline:
        time.sleep(0.1)
"""


class SlowGates:
    """Gates that have started and decide nothing until the test lets them."""

    def __init__(self, folder: Path, code: str = SLOW_GATE) -> None:
        self.decision, self.began = folder / "decide", folder / "gates"
        site = folder / "slow"
        site.mkdir()
        text = code.format(began=str(self.began), decision=str(self.decision))
        (site / "sitecustomize.py").write_text(text)
        path = os.pathsep.join([str(site), str(ROOT)])
        self.launcher = minislurm_launcher(folder, {"PYTHONPATH": path})

    def wait_for(self, count: int) -> int:
        """Wait until so many gates have started; return the pid of the newest."""

        def pids() -> list[int]:
            text = self.began.read_text() if self.began.exists() else ""
            return [int(line) for line in text.split()]

        wait_until(lambda: len(pids()) >= count, f"gate {count}", state=pids)
        return pids()[-1]

    def let_go(self) -> None:
        """Let all gates decide."""
        self.decision.touch()


def command_output(*arguments: str) -> str:
    """Output of a SLURM command."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=WAIT_S)
    return done.stdout.strip()


@pytest.fixture
def slow_gates(tmp_path: Path) -> SlowGates:
    """A launcher whose gates wait for a file."""
    return SlowGates(tmp_path)


def chain(folder: Path) -> str:
    """`corpus`, and `second`, which depends on its gate."""
    (folder / "rows.jsonl").write_text('{"instruction": "Say hello.", "output": "Hello."}\n')
    small = "resources = { cpus_per_rank = 1, mem_gb = 1 }\n"
    return recipe(
        folder,
        f'[corpus]\nstage = "prepare"\ndata = "{folder}/rows.jsonl"\nunits = 1\n{small}'
        f'[report]\nnodes = ["@corpus"]\n{small}',
    )


@pytest.mark.long
def test_a_gate_that_is_preempted_ends_no_chain(
    tmp_path: Path, work: Path, slow_gates: SlowGates
) -> None:
    assert launch("stage=all", chain(tmp_path), f"work={work}", slow_gates.launcher).code == 0
    slow_gates.wait_for(1)
    gate = json.loads((work / "latest/corpus/jobs.json").read_text())["gate"]
    node = command_output("squeue", "-h", "-j", gate, "-o", "%N")
    # It preempts the gate: SIGTERM, the grace time of the partition, SIGKILL.
    taker = ["-p", "high", "-w", node, "--exclusive", "-t", "1", "-o", "/dev/null"]
    command_output("sbatch", *taker, "--wrap", "sleep 3")
    slow_gates.wait_for(2)
    slow_gates.let_go()
    wait_until(lambda: set(states(work).values()) == {"done"}, "the end of the chain", pause_s=1)


#: As `SLOW_GATE`, but in the middle of its work: before it links the first file.
SLOW_WORK = """
import os, sys, time
def linger(event, arguments):
    if event in ("os.rename", "os.link") and not os.path.exists({began!r}):
        open({began!r}, "a").write(f"{{os.getpid()}}\\n")
        deadline = time.monotonic() + 100
        while not os.path.exists({decision!r}) and time.monotonic() < deadline:
            time.sleep(0.1)
if "hala_hpc.gate" in sys.orig_argv:
    sys.addaudithook(linger)
"""
#: Seconds after which the grace time of the partition `low` has expired, before the kill.
PAST_GRACE_S = 7.5


@pytest.mark.long
def test_a_gate_that_is_done_after_its_grace_ran_out_ends_no_chain(
    tmp_path: Path, work: Path
) -> None:
    gates = SlowGates(tmp_path, SLOW_WORK)
    assert launch("stage=all", chain(tmp_path), f"work={work}", gates.launcher).code == 0
    gates.wait_for(1)
    gate = json.loads((work / "latest/corpus/jobs.json").read_text())["gate"]
    node = command_output("squeue", "-h", "-j", gate, "-o", "%N")
    taker = ["-p", "high", "-w", node, "--exclusive", "-t", "1", "-o", "/dev/null"]
    command_output("sbatch", *taker, "--wrap", "sleep 3")
    time.sleep(PAST_GRACE_S)
    gates.let_go()
    wait_until(lambda: set(states(work).values()) == {"done"}, "the end of the chain", pause_s=1)
    # The page was not submitted again: its worker had waited for the gate that was requeued.
    assert len(list((work / "latest/report/rounds").iterdir())) == 1


def test_a_gate_that_is_killed_is_started_again(
    tmp_path: Path, work: Path, slow_gates: SlowGates
) -> None:
    assert launch("stage=all", chain(tmp_path), f"work={work}", slow_gates.launcher).code == 0
    os.kill(slow_gates.wait_for(1), signal.SIGKILL)
    slow_gates.wait_for(2)
    slow_gates.let_go()
    wait_until(lambda: set(states(work).values()) == {"done"}, "the end of the chain", pause_s=1)


@pytest.mark.long
def test_a_node_whose_gate_was_cancelled_reports_it_and_the_same_command_resumes(
    tmp_path: Path, work: Path, slow_gates: SlowGates
) -> None:
    arguments = ["stage=all", chain(tmp_path), f"work={work}", slow_gates.launcher]
    assert launch(*arguments).code == 0
    slow_gates.wait_for(1)
    gate = json.loads((work / "latest/corpus/jobs.json").read_text())["gate"]
    command_output("scancel", "--full", "--signal=KILL", gate)
    command_output("scancel", gate)
    wait_until(
        lambda: not command_output("squeue", "-h", "-o", "%i"), "the end of all jobs", pause_s=1
    )
    result = run_command(f"work={work}", "format=json", module="status")
    nodes = {node["name"]: node for node in json.loads(result.out)["nodes"]}
    assert nodes["corpus"]["state"] == "partial"
    assert gate in nodes["corpus"]["why"]
    assert "corpus" in nodes["report"]["why"]
    slow_gates.let_go()
    assert launch(*arguments).code == 0
    wait_until(lambda: set(states(work).values()) == {"done"}, "the end of the chain", pause_s=1)


@pytest.mark.long
def test_a_node_that_begins_before_its_input_is_finished_is_submitted_again_behind_it(
    tmp_path: Path, work: Path
) -> None:
    held = JobHold(tmp_path)
    launcher = minislurm_launcher(tmp_path, held.variables)
    assert launch("stage=all", chain(tmp_path), f"work={work}", launcher).code == 0
    workers = json.loads((work / "latest/report/jobs.json").read_text())["workers"]
    # As if the gate of the input ends while a launch adds the dependency: nothing moves it.
    command_output("scontrol", "update", f"jobid={workers}", "dependency=")
    rounds = work / "latest/report/rounds"
    wait_until(
        lambda: len(list(rounds.iterdir())) == 2,
        "the second round",
        pause_s=0.5,
        state=lambda: command_output("squeue"),
    )
    held.release()
    wait_until(lambda: set(states(work).values()) == {"done"}, "the end of the chain", pause_s=1)
    assert json.loads((rounds / "0002.json").read_text())["spec"]["rounds_without_progress"] == 0
