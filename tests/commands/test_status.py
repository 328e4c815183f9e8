"""Status shows how far a run is, why it makes no progress, and what it has cost."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import launch, one_row_recipe, recipe, run_command
from fake_slurm import FakeSlurm, on_path
from held import JobHold
from message_checks import assert_message
from slow_run import (
    read_node_states,
    standin_variables,
    write_stand_in_launcher,
    write_stand_in_recipe,
)

from benchmarks.common.waiting import WAIT_S, wait_until
from hala_hpc.backends.slurm.pending_reasons import explain_pending_reason
from hala_hpc.commands.monitoring.node_status import NodeStatus, compute_node_state
from hala_hpc.commands.monitoring.status_table import print_status_table
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.records import NodeSummary

pytestmark = pytest.mark.kinds


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.usefixtures("minislurm")
def test_status_on_slurm_shows_why_nodes_wait_and_what_gpus_cost(
    tmp_path: Path, work: Path
) -> None:
    arguments = [
        "stage=all",
        write_stand_in_recipe(tmp_path),
        f"work={work}",
        "arabic.resources.gpus_per_node=2",
    ]
    later = ["report.resources.options.begin=now+1hour"]
    held = JobHold(tmp_path, after=100)
    assert launch(*arguments, *later, write_stand_in_launcher(tmp_path, held=held)).code == 0
    first = read_node_states(work)
    assert first["report"]["state"] == "waiting"
    assert first["report"]["why"] == "waits for arabic"
    assert first["report"]["workers_waiting"] == 1
    assert first["english"]["gpu_hours"] is None
    wait_for_state(work, "running")
    running = read_node_states(work)["arabic"]
    assert running["workers_running"] in (1, 2)
    held.release()
    wait_for_state(work, "done")
    arabic = read_node_states(work)["arabic"]
    # Two workers with two GPUs each: in accounting, or else by their own records.
    gpu_seconds = sum(
        json.loads(path.read_text())["seconds"] * 2
        for path in (work / "latest/arabic/attempts").glob("r*.json")
    )
    assert gpu_seconds <= arabic["gpu_hours"] * 3600 + 2 < 3 * gpu_seconds + 60
    without_accounting = read_node_states(work, PATH=path_without("sacct", tmp_path))
    assert without_accounting["arabic"]["gpu_hours"] * 3600 == pytest.approx(gpu_seconds, abs=4)

    wait_until(
        lambda: "begin time is not reached" in read_node_states(work)["report"]["why"],
        "the report waits for its time alone",
        pause_s=1,
        state=lambda: read_node_states(work),
    )
    report = read_node_states(work)["report"]
    assert report["expected_start"] > time.strftime("%FT%T")
    output = run_command(f"work={work}", module="status").out
    assert_message(output, "report waits: it may not begin yet")
    assert_message(output, "report is expected to start at")
    assert_message(output, "GPU hours are spent")
    hold = ["scontrol", "hold", jobs(work, "report")["workers"]]
    subprocess.run(hold, check=True, timeout=WAIT_S)
    assert_message(read_node_states(work)["report"]["why"], "scontrol release")
    assert run_command(f"work={work}", module="cancel").code == 0
    assert read_node_states(work)["report"]["state"] == "new"


def wait_for_state(work: Path, state: str) -> None:
    """Wait until the translation is in a state."""
    wait_until(
        lambda: read_node_states(work)["arabic"]["state"] == state,
        f"arabic is {state}",
        pause_s=0.5,
        state=lambda: read_node_states(work),
    )


def jobs(work: Path, node: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((work / "latest" / node / "jobs.json").read_text())
    return found


def path_without(name: str, folder: Path) -> str:
    """A PATH on which one command is missing."""
    commands = folder / "commands"
    commands.mkdir(exist_ok=True)
    for slurm in ("squeue", "scontrol", "sbatch", "srun"):
        target = subprocess.check_output(["which", slurm], text=True, timeout=WAIT_S).strip()
        if slurm != name and not (commands / slurm).exists():
            (commands / slurm).symlink_to(target)
    return str(commands)


def test_status_of_a_recipe_that_was_never_run_is_new(tmp_path: Path) -> None:
    ended = run_command("recipe=demo", f"work={tmp_path}/w", "format=json", module="status")
    nodes = json.loads(ended.out)["nodes"]
    assert {node["state"] for node in nodes} == {"new"}
    assert set(nodes[0]) == {
        "name",
        "stage",
        "state",
        "units",
        "units_done",
        "rows_in",
        "rows_out",
        "rows_rejected",
        "rows_rejected_content",
        "progress",
        "why",
        "expected_start",
        "workers_running",
        "workers_waiting",
        "gpu_hours",
        "gpu_hours_estimate",
    }


def test_status_of_a_folder_without_a_run_names_the_command_that_starts_one(tmp_path: Path) -> None:
    ended = run_command(f"work={tmp_path}", module="status")
    assert ended.code == 66
    assert_message(ended.err, "holds no run")


def test_status_after_a_run_counts_units_and_rows(tmp_path: Path, work: Path) -> None:
    rows = [json.dumps({"instruction": f"Say {n}", "output": str(n)}) for n in (1, 2, 3, 3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    argument = recipe(
        tmp_path, f'[corpus]\nstage="prepare"\ndata="{tmp_path}/rows.jsonl"\nunits=2\n'
    )
    assert launch("stage=all", argument, f"work={work}").code == 0
    ended = run_command(f"work={work}", "format=json", module="status")
    assert json.loads(ended.out) == {
        "nodes": [
            {
                "name": "corpus",
                "stage": "prepare",
                "state": "done",
                "units": 2,
                "units_done": 2,
                "rows_in": 4,
                "rows_out": 3,
                "rows_rejected": 1,
                "rows_rejected_content": 0,
                "progress": None,
                "why": "",
                "expected_start": None,
                "workers_running": 0,
                "workers_waiting": 0,
                "gpu_hours": None,
                "gpu_hours_estimate": None,
            }
        ]
    }
    stale = run_command(f"work={work}", module="status")
    assert_message(stale.out, "1 of 1 nodes are done")


def test_status_shows_what_the_disk_knows_when_the_scheduler_does_not_answer(
    tmp_path: Path, work: Path
) -> None:
    argument = one_row_recipe(tmp_path, units=2)
    assert launch("stage=all", argument, f"work={work}").code == 0
    artifact = (work / "latest/corpus").resolve()
    (artifact / "summary.json").unlink()
    (artifact / "progress/00000-0000.json").unlink()
    (artifact / "jobs.json").write_text('{"round": 1, "submitted": 0, "workers": "1", "gate": "2"}')
    ended = run_command(f"work={work}", "format=json", module="status", PATH="/nowhere")
    assert ended.code == 0, ended
    assert json.loads(ended.out)["nodes"][0]["state"] == "partial"
    assert_message(ended.err, "does not answer")


def corpus_argument(folder: Path, text: str, units: int = 2) -> str:
    """`recipe=...` of one node that reads these rows."""
    (folder / "rows.jsonl").write_text(text)
    return recipe(folder, f'[corpus]\nstage="prepare"\ndata="{folder}/rows.jsonl"\nunits={units}\n')


def test_status_shows_why_a_node_failed(tmp_path: Path, work: Path) -> None:
    argument = corpus_argument(
        tmp_path, '{"instruction": "Say 1", "output": "1"}\n' + "{broken\n" * 9
    )
    assert launch("stage=all", argument, f"work={work}").code == 65
    node = read_node_states(work)["corpus"]
    assert node["state"] == "failed"
    assert_message(node["why"], "9 of 10 rows are rejected")
    output = run_command(f"work={work}", module="status").out
    assert_message(output, f"corpus has failed: {node['why']}")
    assert_message(output, f"python -m hala_hpc.logs work={work}\n")


def test_following_ends_with_the_run_and_repeats_the_table(tmp_path: Path, work: Path) -> None:
    arguments = ["stage=all", write_stand_in_recipe(tmp_path), f"work={work}"]
    # The first of the three nodes is done when the table has been printed once.
    held, output = JobHold(tmp_path), tmp_path / "output"
    follow = [sys.executable, "-m", "hala_hpc.status", f"work={work}", "follow=true"]
    with subprocess.Popen(
        [sys.executable, "-m", "hala_hpc.launch", *arguments],
        env={**os.environ, **standin_variables(held=held)},
        stdout=subprocess.DEVNULL,
    ) as running:
        wait_until((work / "run.json").exists, "the run has begun")
        with output.open("w") as stream, subprocess.Popen(follow, stdout=stream) as following:
            try:
                wait_until(lambda: "done" in output.read_text(), "the first table")
            finally:
                held.release()
            assert following.wait(WAIT_S) == 0
        assert running.wait(WAIT_S) == 0
    assert_message(output.read_text(), "0 of 3 nodes are done")
    assert_message(output.read_text(), "3 of 3 nodes are done\n")
    assert "\x1b" not in output.read_text()


def test_following_what_has_failed_ends_with_its_code(tmp_path: Path, work: Path) -> None:
    argument = corpus_argument(
        tmp_path, '{"instruction": "Say 1", "output": "1"}\n' + "{broken\n" * 9
    )
    assert launch("stage=all", argument, f"work={work}").code == 65
    ended = run_command(f"work={work}", "follow=true", "format=json", module="status")
    assert ended.code == 65
    assert_message(ended.err, "nothing is running")
    assert json.loads(ended.out.splitlines()[-1])["nodes"][0]["state"] == "failed"


def test_a_scheduler_without_an_answer_is_reported_once_and_asked_once(
    tmp_path: Path, work: Path
) -> None:
    argument = corpus_argument(tmp_path, '{"instruction": "Say 1", "output": "1"}\n', 1)
    assert launch("stage=all", argument, f"work={work}").code == 0
    artifact = (work / "latest/corpus").resolve()
    (artifact / "summary.json").unlink()
    (artifact / "progress/00000-0000.json").unlink()
    (artifact / "jobs.json").write_text('{"round": 1, "submitted": 0, "workers": "1", "gate": "2"}')
    commands = tmp_path / "commands"
    commands.mkdir()
    away = "echo squeue: error: Unable to contact slurm controller >&2"
    (commands / "squeue").write_text(f"#!/bin/sh\necho $* >> {tmp_path}/asked\n{away}\nexit 1\n")
    (commands / "squeue").chmod(0o755)
    ended = run_command(f"work={work}", module="status", PATH=f"{commands}:/usr/bin:/bin")
    assert ended.code == 0, ended
    assert "partial" in ended.out
    assert len(ended.err.splitlines()) == 1
    assert_message(ended.err, "the scheduler does not answer")
    assert len((tmp_path / "asked").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("reason", "explained"),
    [
        ("Priority", "jobs with a higher priority are before it"),
        (
            "QOSMaxGRESPerUser",
            "your jobs are at the limit of the QOS (GPUs): it starts when some of them end",
        ),
        ("AssocGrpGRESMinutes", "the budget of your account (GPUs by minutes) is spent"),
        ("QOSMaxWallDurationPerJobLimit", "it requests more time than the QOS allows"),
        (
            "AssocGrpCpuLimit",
            "all jobs of your account together are at the limit of your account (cores)",
        ),
        ("QOSMaxJobsPerUserLimit", "your jobs are at the limit of the QOS (jobs)"),
        ("QOSMinGRES", "it requests less than the minimum of the QOS (GPUs)"),
        ("ReqNodeNotAvail, UnavailableNodes:node[1-4]", "down, drained, or reserved"),
        ("(launch failed requeued held)", "`scontrol release 12`"),
        ("Nodes required for job are DOWN, DRAINED or reserved", "kept for partitions"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_reasons_of_slurm_are_explained_in_plain_english(reason: str, explained: str) -> None:
    assert_message(explain_pending_reason(reason, "12"), explained)


def test_a_node_that_was_repaired_while_status_follows_is_damaged_no_more(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path / "node-0123456789ab")
    artifact.output.mkdir(parents=True)
    summary = NodeSummary(node="node", stage="prepare", units=1, files={"part": 4})
    summary.write(artifact.summary_file)
    assert compute_node_state(artifact, 1, []) == "damaged"
    (artifact.output / "part").write_bytes(b"rows")
    artifact.summary_file.unlink()
    summary.write(artifact.summary_file)
    # Later for sure, however fast this machine is.
    later_s = time.time() + 1
    os.utime(artifact.summary_file, (later_s, later_s))
    assert compute_node_state(artifact, 1, []) == "done"


def submitted(tmp_path: Path, work: Path, cluster: FakeSlurm) -> None:
    """Submit a node, `second`: its jobs have the number 41, and none is in the queue."""
    cluster.add("scontrol", 'echo "Slurmctld(primary) at here is UP"')
    cluster.add("sbatch", 'echo "Submitted batch job 41"')
    for name in ("srun", "squeue", "scancel"):
        cluster.add(name, "true")
    for name in ("sacct", "sinfo", "sacctmgr"):
        cluster.add(name, "exit 1")
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say 1", "output": "1"}\n')
    one = f'stage = "prepare"\ndata = "{tmp_path}/rows.jsonl"\nunits = 1\n'
    arguments = [recipe(tmp_path, f"[first]\n{one}[second]\n{one}limit = 1\n"), f"work={work}"]
    # The doctor's queries of the cluster are made before the first submission only.
    assert launch("stage=first", *arguments).code == 0
    assert launch("stage=second", *arguments, "launcher=slurm").code == 0


def test_a_node_whose_jobs_are_gone_runs_no_more_though_a_worker_was_alive_just_now(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FakeSlurm(on_path(tmp_path / "commands", monkeypatch))
    submitted(tmp_path, work, cluster)
    progress = work / "latest" / "second" / "progress"
    progress.mkdir(exist_ok=True)
    now = time.time()
    progress_of_now = {
        "worker": 0,
        "rank": 0,
        "attempt": "r0001-w00000-41-0",
        "began": now,
        "time": now,
    }
    (progress / "00000-0000.json").write_text(json.dumps(progress_of_now))
    node = read_node_states(work)["second"]
    assert node["state"] == "new"
    assert_message(node["why"], "41")
    # Without an answer about the jobs, the progress file is the best that there is.
    cluster.add("squeue", 'echo "Unable to contact slurm controller" >&2; exit 1')
    assert read_node_states(work)["second"]["state"] == "running"


def test_a_job_of_another_folder_with_the_number_of_ours_is_not_ours(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FakeSlurm(on_path(tmp_path / "commands", monkeypatch))
    submitted(tmp_path, work, cluster)
    folder = (work / "latest" / "second").resolve()
    key = json.loads((folder / "rounds" / "0001.json").read_text())["key"]

    def see(name: str) -> None:
        """The queue has a job 41 of this name that runs."""
        row = f"41|N/A|RUNNING|None|2026-11-30T12:00:00|{name}|{folder}/logs"
        cluster.add("squeue", f"echo '{row}'")

    see(f"{folder.name}-{key}")
    assert read_node_states(work)["second"]["state"] == "running"
    # A controller that forgot our jobs gave the number to the same node of another work folder.
    see(f"{folder.name}-00000000")
    assert read_node_states(work)["second"]["state"] == "new"


def test_gpu_hours_of_other_jobs_with_the_number_of_ours_are_not_ours(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounting lists all jobs that ever had a number; a gate has no GPU."""
    cluster = FakeSlurm(on_path(tmp_path / "commands", monkeypatch))
    submitted(tmp_path, work, cluster)
    folder = (work / "latest" / "second").resolve()
    asked = json.loads((folder / "rounds" / "0001.json").read_text())
    asked["spec"]["resources"]["gpus_per_node"] = 2
    (folder / "rounds" / "0001.json").write_text(json.dumps(asked))
    jobs = json.loads((folder / "jobs.json").read_text())
    (folder / "jobs.json").write_text(json.dumps(jobs | {"gate": "42"}))
    name = f"{folder.name}-{asked['key']}"
    rows = [
        f"41|{name}|1800|cpu=1,gres/gpu=2|",
        f"41|{folder.name}-00000000|36000|cpu=1,gres/gpu=8|",
        "41|interactive|72000|cpu=1,gres/gpu=8|",
        f"42|gate-{name}|7200|cpu=1|",
    ]
    cluster.add("sacct", "printf '%s\\n' " + " ".join(f"'{row}'" for row in rows))
    assert read_node_states(work)["second"]["gpu_hours"] == 1.0


def test_rows_that_are_the_cause_themselves_stand_beside_the_rejected_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts = {"arabic": (30, 12), "judged": (30, 30), "faulty": (30, 0)}
    print_status_table(
        [
            NodeStatus(name, "translate", "done", 1, 1, 100, 70, rejected, content)
            for name, (rejected, content) in counts.items()
        ]
    )
    arabic, judged, faulty = capsys.readouterr().out.splitlines()[-5:-2]
    assert "30 (12 content)" in arabic
    assert "content" not in judged + faulty
