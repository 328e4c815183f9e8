"""Submission without room for a gate: nothing is lost, and no other job is cancelled."""

import json
import os
import time
from pathlib import Path

import pytest
from command_line import launch, one_row_recipe, recipe, run_command
from fake_slurm import FakeSlurm, on_path
from message_checks import assert_message

from hala_hpc import gate as gate_door
from hala_hpc.backends.slurm.client import QueueRow
from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.monitoring.launch_process import find_launch_process
from hala_hpc.commands.planning.plan import make_plan
from hala_hpc.commands.planning.run_slurm import submit_steps
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import (
    RETRY,
    FailureClass,
    JobLimitReached,
    JobRefused,
    TransientError,
    UserError,
)
from hala_hpc.core.job_records import Failure, RoundFailures
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.lease import work_lease
from hala_hpc.core.records import (
    ExcludedNode,
    Jobs,
    LaunchLease,
    NodeConfig,
    NodeSummary,
    PendingNode,
    Round,
    RoundSpec,
    StageSource,
)
from hala_hpc.core.resources import Resources
from hala_hpc.jobs.failures.decision import decide
from hala_hpc.jobs.failures.evidence import record_failures
from hala_hpc.jobs.rounds import begin_round
from hala_hpc.jobs.spec import job_name
from hala_hpc.jobs.submission import find_or_adopt_gate, submit_node
from hala_hpc.jobs.waiting_list import submit_waiting_nodes, waiting_nodes, write_waiting

FULL = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
SPEC = RoundSpec(
    launcher=Launcher(name="mine", backend="slurm"),
    env="main",
    commit="",
    settings={},
    resources=Resources(),
)


class Cluster(FakeSlurm):
    """Commands of a SLURM that accepts workers and has no room for gates."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cancelled = folder / "cancelled"
        self.add("scontrol", 'echo "Slurmctld(primary) at here is UP"')
        self.add("squeue", f'cat "{folder}/queue" 2>/dev/null; true')
        self.add("scancel", f'echo "$@" >> "{self.cancelled}"')
        self.add("sacct", "exit 1")
        self.add("sinfo", "exit 1")
        self.add(
            "sbatch",
            f'case "$*" in *--job-name=gate-*) echo "{FULL}" >&2; exit 1;; esac\n'
            'echo "Submitted batch job 41"',
        )


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(on_path(tmp_path / "commands", monkeypatch))


def two_nodes(folder: Path) -> str:
    """The override for a recipe of two nodes with one row each."""
    (folder / "rows.jsonl").write_text('{"instruction": "Say 1", "output": "1"}\n')
    node = f'stage = "prepare"\ndata = "{folder}/rows.jsonl"\nunits = 1\n'
    return recipe(folder, f"[first]\n{node}[second]\n{node}limit = 1\n")


@pytest.fixture
def artifact(work: Path) -> Artifact:
    """A node whose workers run and whose gate was never submitted."""
    found = Artifact(work / "arabic-0123456789ab")
    found.write_config(NodeConfig(node="arabic", stage="translate", units=2))
    asked = Round(
        round=1,
        key="beef",
        assignment=((0, 1),),
        progress_before=("0 units",),
        began=1.0,
        spec=SPEC,
    )
    found.write_round(asked)
    found.write_jobs(Jobs(round=1, submitted=1.0, workers="12"))
    return found


def workers_of(artifact: Artifact) -> QueueRow:
    """The workers of a node as squeue shows them."""
    name = job_name("", artifact, "beef")
    return QueueRow("12", "N/A", "running", "None", "N/A", name, str(artifact.logs))


def test_workers_that_were_adopted_stay_where_there_is_no_room_for_their_gate(
    cluster: Cluster, artifact: Artifact
) -> None:
    with pytest.raises(JobLimitReached):
        find_or_adopt_gate(artifact, [workers_of(artifact)])
    assert not cluster.cancelled.exists()
    assert artifact.job_ids() == ["12"]


def test_workers_that_this_call_submitted_end_where_there_is_no_room_for_their_gate(
    cluster: Cluster, artifact: Artifact
) -> None:
    with pytest.raises(JobLimitReached):
        submit_node(artifact, 2, SPEC)
    assert cluster.cancelled.read_text().split()[-1] == "41"
    assert artifact.last_round() == 1


def foreign_lease(work: Path) -> str:
    """Shell lines by which a launch on another login node takes over the folder."""
    lease = {"host": "login2", "pid": 2, "since": "now", "holder": "launch", "token": "other"}
    return f"printf '%s' '{json.dumps(lease)}' > '{work}/launch.lease'"


def count_submissions(cluster: Cluster, second: str) -> Path:
    """A SLURM that accepts all jobs and runs `second` with the second one. The file counts them."""
    counted = cluster.folder / "submitted"
    cluster.add(
        "sbatch",
        f'case "$*" in *--test-only*) exit 0;; esac\necho x >> "{counted}"\n'
        f'n=$(wc -l < "{counted}"); [ "$n" = 2 ] && {{ {second}; }}\n'
        'echo "Submitted batch job $((40 + n))"',
    )
    return counted


def test_a_launch_that_was_away_too_long_submits_nothing_more_and_ends_what_it_had(
    cluster: Cluster, tmp_path: Path, work: Path
) -> None:
    """Suspended during sbatch; another login node takes over; then it resumes."""
    counted = count_submissions(cluster, foreign_lease(work))
    work.mkdir()
    # Not the first launch in this folder, which runs the doctor: it would find no cluster here.
    (work / "run.json").write_text("{}")
    ended = launch("stage=all", two_nodes(tmp_path), f"work={work}", "launcher=slurm")
    assert ended.code == RETRY, ended
    assert "login2" in ended.err
    assert counted.read_text() == "x\n" * 2
    assert cluster.cancelled.read_text().split()[-2:] == ["41", "42"]
    assert "other" in (work / "launch.lease").read_text()


def test_jobs_of_a_round_that_another_has_given_up_are_ended_again(
    cluster: Cluster, artifact: Artifact
) -> None:
    later = artifact.require_newest_round().model_copy(update={"round": 3, "key": "cafe"})
    text = later.to_json().replace("'", "")
    count_submissions(cluster, f"printf '%s' '{text}' > '{artifact.round_file(3)}'")
    before = Jobs(round=3, submitted=2.0, workers="7", gate="8")
    with pytest.raises(TransientError, match="round 2"):
        submit_node(artifact, 2, SPEC)
    assert cluster.cancelled.read_text().split()[-2:] == ["41", "42"]
    assert artifact.job_ids() != before.ids
    assert artifact.last_round() == 3


def test_two_that_begin_the_same_round_do_not_both_submit(
    cluster: Cluster, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Artifact, "last_round", lambda _: 0)
    with pytest.raises(TransientError, match="another process started it"):
        submit_node(artifact, 2, SPEC)
    assert artifact.round(1) == artifact.round(1)
    assert not cluster.cancelled.exists()


REFUSED = "sbatch: error: Requested node configuration is not available"


def counted_answers(cluster: Cluster, first: str, when: str = "true") -> Path:
    """An sbatch that gives this answer once, to commands that `when` accepts; counts its calls.

    After it all jobs are accepted, with ids from 41 on.
    """
    counted, result = cluster.folder / "calls", cluster.folder / "result"
    cluster.add(
        "sbatch",
        f'echo "$*" >> "{counted}"\n'
        f'if [ ! -e "{result}" ] && {when}; then touch "{result}"; echo "{first}" >&2; exit 1; fi\n'
        f'echo "Submitted batch job $((40 + $(wc -l < "{counted}")))"',
    )
    return counted


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gates that retry at once."""
    monkeypatch.setattr(gate_door, "ROOM_PAUSE_S", 0)


def ended_round(artifact: Artifact, spec: RoundSpec, *failures: Failure) -> None:
    """The first round of a node, with this end."""
    artifact.round_file(1).unlink()
    artifact.write_round(
        Round(round=1, key="beef", assignment=((0, 1),), progress_before=(), began=1.0, spec=spec)
    )
    RoundFailures(failures=failures).write(artifact.failures_file(1))


def test_a_round_that_slurm_refuses_for_the_nodes_it_leaves_out_asks_once_without_that(
    cluster: Cluster, artifact: Artifact
) -> None:
    options = {"partition": "low", "exclude": "node9,node1"}
    spec = SPEC.model_copy(
        update={
            "resources": Resources(options=options),
            "bad_nodes": (ExcludedNode(name="node1", since=1.0),),
        }
    )
    ended_round(artifact, spec, Failure(kind=FailureClass.KILLED, text="killed"))
    cluster.add("sinfo", "printf 'low*|node1|idle\\nlow*|node2|idle\\nlow*|node9|idle\\n'")
    when = 'case "$*" in *--exclude=node9,node1*) true;; *) false;; esac'
    calls = counted_answers(cluster, REFUSED, when)
    assert gate_door.submit_missing(artifact).state == "again"
    asked = artifact.require_newest_round()
    assert (asked.round, asked.spec.resources.options["exclude"]) == (2, "node9")
    assert asked.spec.bad_nodes == ()
    assert any("node1" in text for text in asked.spec.because)
    assert len(calls.read_text().splitlines()) == 3, "the refusal, the workers, the gate"
    assert artifact.job_ids() == ["42", "43"]


def test_the_gate_asks_how_many_nodes_may_be_excluded_and_which_have_recovered(
    cluster: Cluster, artifact: Artifact
) -> None:
    options = {"exclude": "node9,node1,node2"}
    bad = tuple(
        ExcludedNode(name=f"node{number}", since=2.0, until_boot=number == 2) for number in (1, 2)
    )
    update = {"resources": Resources(options=options), "bad_nodes": bad}
    ended_round(artifact, SPEC.model_copy(update=update))
    cluster.add("sacct", f"echo '12|{job_name('', artifact, 'beef')}|NODE_FAIL|node3|0:0|0:0'")
    printed = [
        f"NodeName=node{number} State=IDLE BootTime=1970-01-01T00:00:00" for number in (1, 2)
    ]
    cluster.add("scontrol", "".join(f"echo '{line}'\n" for line in printed))
    record_failures(artifact)
    found = artifact.round_failures(1)
    assert found is not None
    (failure,) = found.failures
    assert (failure.kind, failure.confirmed_by_scheduler) == (FailureClass.NODE_FAILURE, True)
    assert (found.max_excluded, found.recovered_nodes) == (None, ("node1",))
    rows = "".join(f"low*|node{number}|idle\\n" for number in (1, 2, 3, 9))
    cluster.add("sinfo", f"printf '{rows}'")
    record_failures(artifact)
    found = artifact.round_failures(1)
    assert found is not None
    assert found.max_excluded == 2
    spec = decide(artifact, artifact.require_newest_round().spec).spec
    assert spec.resources.options["exclude"] == "node9,node2,node3"


def test_a_round_that_slurm_refuses_with_all_nodes_fails_with_its_message(
    cluster: Cluster, artifact: Artifact
) -> None:
    spec = SPEC.model_copy(update={"bad_nodes": (ExcludedNode(name="node1"),)})
    cluster.add("sinfo", "echo 'low*|node1|idle'")
    cluster.add("sbatch", f'echo "{REFUSED}" >&2; exit 1')
    with pytest.raises(JobRefused, match="Requested node configuration"):
        submit_node(artifact, 2, spec)
    assert artifact.last_round() == 1


@pytest.mark.usefixtures("short_waits")
def test_a_gate_waits_while_all_nodes_are_away(cluster: Cluster, artifact: Artifact) -> None:
    ended_round(artifact, SPEC, Failure(kind=FailureClass.KILLED, text="killed"))
    cluster.add("sinfo", "printf 'low*|node1|down*\\nlow*|node2|unk*\\n'")
    calls = counted_answers(cluster, REFUSED)
    assert gate_door.submit_missing(artifact).state == "again"
    assert artifact.job_ids() == ["42", "43"]
    assert len(calls.read_text().splitlines()) == 3
    assert not artifact.failure_file.exists()


@pytest.mark.usefixtures("short_waits")
def test_a_gate_that_is_started_again_waits_for_room_for_the_gate_of_the_next_round(
    cluster: Cluster, artifact: Artifact
) -> None:
    later = artifact.require_newest_round().model_copy(update={"round": 2})
    artifact.write_round(later)
    os.utime(artifact.round_file(2), (1, 1))
    row = workers_of(artifact)
    fields = (row.id, row.elements, "RUNNING", row.reason, row.start, row.name, row.folder)
    (cluster.folder / "queue").write_text("|".join(fields) + "\n")
    calls = counted_answers(cluster, FULL)
    assert gate_door.close_or_submit(artifact, 1) == 0
    assert len(calls.read_text().splitlines()) == 2
    assert artifact.job_ids() == ["12", "42"]
    assert not artifact.failure_file.exists()
    assert not cluster.cancelled.exists()


def test_a_gate_whose_stage_is_gone_reports_it(artifact: Artifact, tmp_path: Path) -> None:
    config = artifact.require_config()
    source = StageSource(file=str(tmp_path / "gone.py"), digest="0")
    artifact.config_file.unlink()
    artifact.write_config(config.model_copy(update={"stage": "own", "stage_source": source}))
    ended_round(artifact, SPEC, Failure(kind=FailureClass.GPU_OOM, text="out of memory"))
    assert gate_door.submit_missing(artifact).state == "failed"
    report = artifact.failure()
    assert report is not None
    assert "gone.py" in report.reasons[0].text


def test_a_launch_by_a_user_requests_all_nodes_again(
    cluster: Cluster, tmp_path: Path, work: Path
) -> None:
    command_line = parse_command_line(
        ["stage=all", one_row_recipe(tmp_path), f"work={work}", "launcher=slurm"]
    )
    steps = make_plan(command_line.nodes, command_line.work, command_line.environment)
    [step] = steps.values()
    bad = {"bad_nodes": (ExcludedNode(name="node1"),)}
    begin_round(step.artifact, step.units, 1, SPEC.model_copy(update=bad))
    step.artifact.write_jobs(Jobs(round=1, submitted=1.0, workers="1", gate="2"))
    calls = counted_answers(cluster, "", "false")
    with work_lease(command_line.work) as lease:
        submit_steps(command_line, steps, lease)
    assert step.artifact.require_newest_round().spec.bad_nodes == ()
    assert "--exclude" not in calls.read_text()


@pytest.mark.parametrize("takes", [True, False])
def test_a_launch_while_all_nodes_are_away_queues_its_jobs_where_sbatch_takes_them(
    takes: bool, cluster: Cluster, tmp_path: Path, work: Path
) -> None:
    work.mkdir()
    (work / "run.json").write_text("{}")
    cluster.add("srun", "exit 1")
    cluster.add("sinfo", "printf 'low*|node1|down*\\nlow*|node2|unk*\\n'")
    refuse = f'echo "{REFUSED}" >&2; exit 1'
    later = 'echo "Submitted batch job 41"' if takes else refuse
    cluster.add("sbatch", f'case "$*" in *--test-only*) {refuse};; esac\n{later}')
    ended = launch("stage=all", one_row_recipe(tmp_path), f"work={work}", "launcher=slurm")
    assert_message(ended.err, "warning: job", "will wait")
    assert ended.code == (0 if takes else RETRY), ended
    (folder,) = work.glob("corpus-*")
    assert Artifact(folder).job_ids() == (["41", "41"] if takes else [])
    assert Artifact(folder).last_round() == int(takes)


@pytest.mark.parametrize(("refusals", "age_s", "code"), [(1, 3600, 0), (3, 5, 0), (3, 3600, 78)])
def test_nodes_that_come_back_while_a_launch_checks_are_no_mistake_of_the_recipe(
    refusals: int, age_s: int, code: int, cluster: Cluster, tmp_path: Path
) -> None:
    """They register one after the other if the controller has just started."""
    work = tmp_path / "work"
    work.mkdir()
    began = time.strftime("%FT%T", time.localtime(time.time() - age_s))
    config = f'case "$*" in *config*) echo "BOOT_TIME               = {began}";; esac'
    cluster.add("scontrol", f'{config}\necho "Slurmctld(primary) at here is UP"')
    (work / "run.json").write_text("{}")
    cluster.add("srun", "exit 1")
    cluster.add("sinfo", "printf 'low*|node1|idle\\n'")
    asked = cluster.folder / "asked"
    refused = f'[ $(wc -l < "{asked}") -gt {refusals} ] || {{ echo "{REFUSED}" >&2; exit 1; }}'
    cluster.add("sbatch", f'echo x >> "{asked}"\n{refused}\necho "Submitted batch job 41"')
    ended = launch("stage=all", one_row_recipe(tmp_path), f"work={work}", "launcher=slurm")
    assert ended.code == code, ended
    assert bool(list(work.glob("corpus-*"))) == (code == 0)


def test_workers_of_a_round_that_is_over_do_nothing(artifact: Artifact) -> None:
    for asked, is_over in (("7", True), ("1", False)):
        ended = run_command(str(artifact.folder), "0", module="worker", HALA_ROUND=asked)
        assert (ended.code == 0) == is_over, ended
        assert artifact.attempts.exists() != is_over


def test_a_job_with_the_number_of_a_gate_and_another_name_is_no_gate(artifact: Artifact) -> None:
    """A controller that lost its state reuses ids."""
    artifact.write_jobs(Jobs(round=1, submitted=1.0, workers="12", gate="13"))
    other = QueueRow("13", "N/A", "running", "None", "N/A", "interactive", "/home/me")
    assert find_or_adopt_gate(artifact, [other]) == ""
    name = job_name("gate-", artifact, "beef")
    gate = QueueRow("13", "N/A", "running", "None", "N/A", name, str(artifact.logs))
    assert find_or_adopt_gate(artifact, [gate]) == "13"


def test_jobs_of_the_same_node_in_another_work_folder_hold_up_no_launch_of_a_damaged_round(
    tmp_path: Path, work: Path, artifact: Artifact, cluster: Cluster
) -> None:
    """They have its fingerprint; only their working directory differs."""
    del cluster
    artifact.round_file(1).write_text("{broken")
    name = job_name("", artifact, "cafe")
    theirs = QueueRow(
        "12", "N/A", "running", "None", "N/A", name, f"{tmp_path}/{artifact.folder.name}"
    )
    assert find_or_adopt_gate(artifact, [theirs]) == ""
    (tmp_path / "alias").symlink_to(work)
    folder = tmp_path / "alias" / artifact.folder.name / "logs"
    ours = QueueRow("12", "N/A", "running", "None", "N/A", name, str(folder))
    with pytest.raises(UserError, match="scancel 12"):
        find_or_adopt_gate(artifact, [theirs, ours])


def test_no_room_is_reported_as_transient() -> None:
    assert issubclass(JobLimitReached, TransientError)


def test_a_gate_that_finds_no_room_leaves_the_waiting_nodes_to_the_next(
    cluster: Cluster, artifact: Artifact, work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = workers_of(artifact)
    fields = (row.id, row.elements, "RUNNING", row.reason, row.start, row.name, row.folder)
    (cluster.folder / "queue").write_text("|".join(fields) + "\n")
    waiting = PendingNode(folder=artifact.folder.name, units=2, spec=SPEC)
    write_waiting(work, [waiting])
    submit_waiting_nodes(work)
    assert "were not submitted" in caplog.text
    assert waiting_nodes(work) == (waiting,)
    assert not cluster.cancelled.exists()


def test_a_gate_that_submits_for_others_holds_the_folder_as_a_gate(
    cluster: Cluster, artifact: Artifact, work: Path
) -> None:
    """No process ends it as the launch of the run: it exits by itself."""
    copy = work / "held.lease"
    counted = count_submissions(cluster, f"cp '{work}/launch.lease' '{copy}'")
    write_waiting(work, [PendingNode(folder=artifact.folder.name, units=2, spec=SPEC)])
    submit_waiting_nodes(work)
    assert counted.read_text() == "x\n" * 2
    assert json.loads(copy.read_text())["holder"] == "gate"
    copy.rename(work / "launch.lease")
    assert find_launch_process(work) is None
    lease = LaunchLease.read(work / "launch.lease")
    assert lease is not None
    lease.model_copy(update={"holder": "launch", "host": "login2"}).write(work / "launch.lease")
    assert find_launch_process(work) is not None


def test_a_gate_keeps_its_verdict_whatever_comes_after_it(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = Artifact(work / "arabic-0123456789ab")
    artifact.write_config(NodeConfig(node="arabic", stage="translate", units=1))
    artifact.write_summary(NodeSummary(node="arabic", stage="translate", units=1))
    codes: list[int] = []

    def full_disk(_: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(gate_door, "submit_waiting_nodes", full_disk)
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(os, "umask", lambda _: 0)
    # Nor its signals: processes started by the tests would ignore them, too.
    monkeypatch.setattr(gate_door, "put_off_signals", lambda: None)
    gate_door.gate(str(artifact.folder))
    assert codes == [0]
    assert "No space left on device" in capsys.readouterr().err


def test_a_launch_that_finds_no_room_for_the_gate_of_active_workers_reports_it(
    cluster: Cluster, tmp_path: Path, work: Path
) -> None:
    command_line = parse_command_line(
        ["stage=all", one_row_recipe(tmp_path), f"work={work}", "launcher=slurm"]
    )
    steps = make_plan(command_line.nodes, command_line.work, command_line.environment)
    [step] = steps.values()
    begun = begin_round(step.artifact, step.units, 1, SPEC)
    name = job_name("", step.artifact, begun.key)
    fields = ("12", "N/A", "RUNNING", "None", "N/A", name, str(step.artifact.logs))
    (cluster.folder / "queue").write_text("|".join(fields) + "\n")
    with (
        work_lease(command_line.work) as lease,
        pytest.raises(UserError, match="job limit reached") as caught,
    ):
        submit_steps(command_line, steps, lease)
    assert caught.value.code == RETRY
    assert not cluster.cancelled.exists()
