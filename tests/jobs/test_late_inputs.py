"""A gate whose input is being recomputed: the chain continues after it, and does not end."""

import subprocess
import threading
import time
from pathlib import Path

import pytest
from command_line import CommandResult, one_row_recipe, run_command
from fake_slurm import FakeSlurm, on_path

from benchmarks.common.waiting import WAIT_S
from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.planning.plan import make_plan
from hala_hpc.commands.planning.run_slurm import submit_steps
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import NO_INPUT, OK, RETRY, FailureClass
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.lease import work_lease
from hala_hpc.core.records import (
    InputFacts,
    Jobs,
    LaunchLease,
    NodeConfig,
    PendingNode,
    Round,
    RoundSpec,
)
from hala_hpc.core.resources import Resources
from hala_hpc.jobs.rounds import begin_round
from hala_hpc.jobs.spec import job_name
from hala_hpc.jobs.waiting_list import waiting_nodes, write_waiting

pytestmark = pytest.mark.kinds

SPEC = RoundSpec(
    launcher=Launcher(name="mine", backend="slurm"),
    env="main",
    commit="",
    settings={},
    resources=Resources(),
    rounds_without_progress=1,
)
#: The gate of the input, and that of the node that is tested.
INPUT_GATE, OWN_GATE = "13", "23"
#: Seconds for which a launch holds the lease.
LAUNCH_S = 1


class Cluster(FakeSlurm):
    """Accepts all jobs, with ids from 41 on; `31` depends on the tested gate."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.calls, self.queue = folder / "calls", folder / "queue"
        self.queue.write_text("")
        update = f'case "$*" in update*) echo "$*" >> "{folder}/moved";; esac'
        self.add("scontrol", f'{update}\necho "Slurmctld(primary) at here is UP"')
        waits = f"echo '31|afterok:{OWN_GATE}_*(unfulfilled)'"
        self.add("squeue", f'case "$*" in *%E*) {waits};; *) cat "{self.queue}";; esac')
        self.add(
            "sbatch",
            f'echo "$*" >> "{self.calls}"\n'
            f'echo "Submitted batch job $((40 + $(wc -l < "{self.calls}")))"',
        )
        for name in ("sacct", "sinfo", "scancel"):
            self.add(name, "exit 1")

    @property
    def moved(self) -> str:
        """The changes of dependencies."""
        return (self.folder / "moved").read_text()

    def submitted(self) -> list[str]:
        """The lines of sbatch so far."""
        return self.calls.read_text().splitlines() if self.calls.exists() else []


def row(artifact: Artifact, number: str, kind: str = "gate-") -> str:
    """A job of a node that runs, as squeue shows it."""
    name = job_name(kind, artifact, "beef")
    return f"{number}|N/A|RUNNING|None|2026-11-30T12:00:00|{name}|{artifact.logs}\n"


def submitted_node(artifact: Artifact, gate: str, inputs: dict[str, InputFacts]) -> Artifact:
    """A node of one unit whose first round was submitted."""
    name = artifact.folder.name.rpartition("-")[0]
    config = NodeConfig(node=name, stage="report", units=1, inputs=inputs)
    artifact.write_config(config)
    asked = Round(round=1, key="beef", assignment=((0,),), progress_before=(), began=1.0, spec=SPEC)
    artifact.write_round(asked)
    artifact.write_jobs(Jobs(round=1, submitted=1.0, workers=str(int(gate) - 1), gate=gate))
    return artifact


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(on_path(tmp_path / "commands", monkeypatch))


@pytest.fixture
def first(work: Path) -> Artifact:
    """The input: submitted, and not finished."""
    return submitted_node(Artifact(work / "first-0123456789ab"), INPUT_GATE, {})


@pytest.fixture
def second(work: Path, first: Artifact) -> Artifact:
    """The node that is tested."""
    facts = InputFacts(kind="corpus", fingerprint="0123456789ab", artifact=first.folder.name)
    return submitted_node(Artifact(work / "second-ba9876543210"), OWN_GATE, {"first": facts})


def run_gate(artifact: Artifact) -> CommandResult:
    """The gate of the first round of a node, as its job runs it."""
    arguments = (str(artifact.folder), "1")
    return run_command(*arguments, module="gate", SLURM_JOB_ID=OWN_GATE, SLURM_PROCID="0")


def test_a_gate_whose_input_is_at_work_submits_its_node_again_behind_that(
    cluster: Cluster, first: Artifact, second: Artifact
) -> None:
    cluster.queue.write_text(row(first, INPUT_GATE) + row(second, OWN_GATE))
    ended = run_gate(second)
    assert ended.code == OK, ended
    assert second.failure() is None
    workers, gate = cluster.submitted()
    assert f"afterok:{INPUT_GATE}" in workers
    assert "afterany:41" in gate
    assert second.job_ids() == ["41", "42"]
    assert "Dependency=afterok:42" in cluster.moved, "who waits for this gate waits for the next"
    spec = second.require_newest_round().spec
    assert (second.last_round(), spec.rounds_without_progress, spec.since_round) == (2, 1, 1)


def test_a_gate_whose_input_no_job_makes_fails_with_the_reason(
    cluster: Cluster, first: Artifact, second: Artifact
) -> None:
    # The id was reused for another job.
    other = row(first, INPUT_GATE).replace("beef", "cafe")
    cluster.queue.write_text(other + row(second, OWN_GATE))
    ended = run_gate(second)
    assert ended.code == NO_INPUT, ended
    report = second.failure()
    assert report is not None
    assert [reason.kind for reason in report.reasons] == [FailureClass.SECONDARY]
    assert cluster.submitted() == []


def test_a_gate_whose_input_waits_for_room_lets_its_node_wait_behind_it(
    cluster: Cluster, first: Artifact, second: Artifact, work: Path
) -> None:
    full = 'echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1'
    cluster.add("sbatch", full)
    waiting = PendingNode(folder=first.folder.name, units=1, spec=SPEC)
    write_waiting(work, [waiting])
    cluster.queue.write_text(row(second, OWN_GATE))
    ended = run_gate(second)
    assert ended.code == RETRY, ended
    assert second.failure() is None
    behind = waiting_nodes(work)
    assert [node.folder for node in behind] == [first.folder.name, second.folder.name]
    assert behind[1].inputs == (first.folder.name,)


def test_a_gate_waits_for_a_launch_that_may_submit_its_input(
    cluster: Cluster, first: Artifact, second: Artifact, work: Path, tmp_path: Path
) -> None:
    later = tmp_path / "later"
    later.write_text(row(first, INPUT_GATE) + row(second, OWN_GATE))
    cluster.queue.write_text(row(second, OWN_GATE))
    script = f'sleep {LAUNCH_S}; cp "{later}" "{cluster.queue}"'
    with subprocess.Popen(["sh", "-c", script]) as launch:
        # Reaped as soon as it ends, so that it is not a zombie.
        threading.Thread(target=launch.wait, daemon=True).start()
        with work_lease(work) as lease:
            held = lease.mine.model_copy(update={"pid": launch.pid, "holder": "launch"})
        held.write(work / "launch.lease")
        ended = run_gate(second)
        launch.wait(WAIT_S)
    assert ended.code == OK, ended
    assert f"afterok:{INPUT_GATE}" in cluster.submitted()[0]
    assert LaunchLease.read(work / "launch.lease") is None


def test_a_launch_resumes_a_node_that_its_gate_has_just_failed(
    cluster: Cluster, tmp_path: Path, work: Path
) -> None:
    """The gate is still in the queue, but submits nothing."""
    command_line = parse_command_line(
        ["stage=all", one_row_recipe(tmp_path), f"work={work}", "launcher=slurm"]
    )
    steps = make_plan(command_line.nodes, command_line.work, command_line.environment)
    [step] = steps.values()
    begun = begin_round(step.artifact, step.units, 1, SPEC)
    step.artifact.write_jobs(Jobs(round=1, submitted=time.time(), workers="12", gate="13"))
    text = row(step.artifact, "13").replace("beef", begun.key)
    cluster.queue.write_text(text)
    with work_lease(command_line.work) as lease:
        submit_steps(command_line, steps, lease)
    assert cluster.submitted() == [], "its jobs are running"
    step.artifact.write_failure(NO_INPUT, ["its input was not finished"])
    with work_lease(command_line.work) as lease:
        submit_steps(command_line, steps, lease)
    assert len(cluster.submitted()) == 2
    assert step.artifact.job_ids() == ["41", "42"]
    assert step.artifact.failure() is None
