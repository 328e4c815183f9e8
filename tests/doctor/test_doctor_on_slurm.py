"""The doctor on a real SLURM with limits: each limit with its value and fix."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from checkout import STANDIN
from command_line import CommandResult, run_command
from minislurm_fixture import CANNOT_RUN, need_slurm, run_minislurm

from benchmarks.common.waiting import WAIT_S, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
#: A site with small limits; the last lines go into slurm.conf.
ACCOUNTS = (
    "add account lab",
    "add account team parent=lab",
    "add user root account=team",
    "modify account lab set MaxSubmitJobs=50 MaxWall=01:00:00",
    "modify account team set GrpTRES=gres/gpu=4",
    "add qos fast set MaxWall=00:30:00 MaxTRESPerJob=cpu=10 MaxSubmitJobsPerUser=9",
    "add qos urgent set Preempt=normal PreemptMode=cancel",
    "modify user root set qos=normal,fast",
)
CONFIG = """
AccountingStorageEnforce=limits,qos
MaxArraySize=40
JobRequeue=0
SlurmctldParameters=preempt_send_user_signal
PartitionName=short Nodes=node[1-2] MaxTime=20 MaxNodes=1 GraceTime=20
PartitionName=closed Nodes=node3 AllowAccounts=others State=DOWN PreemptMode=CANCEL
"""
SITE = """
backend = "slurm"
[resources]
workers = 2
cpus_per_rank = 2
mem_gb = 8
timeout_min = 15
[resources.options]
partition = "{partition}"
account = "{account}"
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """SLURM_CONF of a cluster whose controller enforces limits."""
    folder = Path(tempfile.mkdtemp(prefix="site-"))
    try:
        need_slurm(run_minislurm("up", "--folder", folder))
        conf = folder / "slurm.conf"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(conf))
            for arguments in ACCOUNTS:
                order = ["sacctmgr", "-i", *arguments.split()]
                subprocess.run(order, check=True, capture_output=True, timeout=WAIT_S)
            conf.write_text(conf.read_text() + CONFIG)
            restart_controller(folder)
            yield conf
    finally:
        done = run_minislurm("down", "--folder", folder)
        shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode in (0, *CANNOT_RUN), done.stderr


def restart_controller(folder: Path) -> None:
    """The controller reads AccountingStorageEnforce only at its start."""
    end(folder, "slurmctld")
    start("slurmctld", "-f", str(folder / "slurm.conf"))
    wait_until(lambda: " UP" in answer("scontrol", "ping"), "the controller is up", pause_s=0.2)
    wait_until(
        lambda: set(answer("sinfo", "-h", "-p", "low", "-o", "%t").split()) == {"idle"},
        "all nodes are idle",
        pause_s=0.2,
        state=lambda: answer("sinfo"),
    )


def start(*arguments: str, **variables: str) -> None:
    """Start a daemon, which goes to the background by itself."""
    env = {**os.environ, **variables, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    quiet = subprocess.DEVNULL
    subprocess.run(
        arguments, env=env, check=True, stdin=quiet, stdout=quiet, stderr=quiet, timeout=WAIT_S
    )


def end(folder: Path, name: str) -> None:
    """Stop a daemon and wait for its end."""
    pid = int((folder / f"{name}.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), f"the end of {name}")


def answer(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=WAIT_S)
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A work folder that only its owner can change."""
    made = tmp_path / "work"
    made.mkdir(mode=0o700)
    return made


def doctor(
    folder: Path,
    lines: str = "",
    partition: str = "low",
    account: str = "team",
    more: Sequence[str] = (),
) -> CommandResult:
    """Run the doctor for one node of a recipe, with additional lines in the launcher."""
    path, data = folder.parent / "site.toml", folder.parent / "rows.jsonl"
    path.write_text(SITE.format(partition=partition, account=account) + lines)
    data.write_text('{"instruction": "Add", "input": "", "output": "done"}\n')
    recipe = folder.parent / "recipe.toml"
    recipe.write_text(f'[rows]\nstage = "prepare"\ndata = "{data}"\nunits = 200\n')
    arguments = (f"launcher={path}", f"recipe={recipe}", f"work={folder}", "format=json")
    return run_command(*arguments, *more, module="doctor")


def findings_text(ended: CommandResult, state: str) -> str:
    """Fact, effect and fix of all findings of one state."""
    findings = json.loads(ended.out)["findings"]
    chosen = [one for one in findings if one["state"] == state]
    return "\n".join(f"{one['what']} | {one['why']} | {one['fix']}" for one in chosen)


def test_jobs_that_fit_are_accepted_by_slurm_too(site: Path, folder: Path) -> None:
    assert site.exists()
    ended = doctor(folder)
    assert ended.code == 0, ended.out
    good = findings_text(ended, "good")
    assert "rows: 1 x (2 cores, 8 GB) for 15 min fits low" in good
    assert "`sbatch --test-only` accepts a job of each" in good
    assert "the controller enforces" in good
    assert "only with --requeue (JobRequeue=0)" in good
    assert "partition low: preempted jobs end 5 s after the job's own signal (REQUEUE)" in good
    assert "tracked by linuxproc; 5 s from SIGTERM to SIGKILL" in good
    assert answer("squeue", "-h") == "", "nothing was submitted"
    assert list(folder.iterdir()) == []


LIMITS = {
    # lines of the launcher, partition, account: the finding
    ("timeout_min = 90", "low", "team"): "timeout_min=90, but user root in account team allows 60",
    ("timeout_min = 30", "short", "team"): "timeout_min=30, but partition short ends jobs after 20",
    ("nodes = 2", "short", "team"): "nodes=2, but partition short gives a job 1",
    ("mem_gb = 900", "low", "team"): "900 GB of memory, but such a node has 256 GB",
    ("cpus_per_rank = 99", "low", "team"): "99 cores, but such a node has 32",
    ("gpus_per_node = 9", "low", "team"): "9 GPUs, but such a node has 8 h100",
    ("gpus_per_node = 5", "low", "team"): "takes gres/gpu=5, but account team allows 4",
    ('gpus_per_node = 1\noptions.gpu_type = "a100"', "low", "team"): "1 GPUs of type a100, but",
    ('options.qos = "fast"\ncpus_per_rank = 11', "low", "team"): "cpu=11, but QOS fast allows 10",
    ('options.qos = "slow"', "low", "team"): "account team may not use QOS 'slow'",
    ("", "low", "others"): "account 'others' is not yours in partition low",
    ("", "closed", "team"): "partition closed does not take account 'team'",
    ("", "lwo", "team"): "there is no partition 'lwo' | SLURM refuses",
}


@pytest.mark.parametrize(
    ("case", "expected"), LIMITS.items(), ids=list(map(str, range(len(LIMITS))))
)
def test_a_request_over_a_limit_is_an_error_with_limit_value_and_fix(
    site: Path, folder: Path, case: tuple[str, str, str], expected: str
) -> None:
    assert site.exists()
    lines, partition, account = case
    ended = doctor(folder, f"[stage.prepare.resources]\n{lines}\n", partition, account)
    assert ended.code == 78, ended.out
    assert expected in findings_text(ended, "error")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("workers = 60", "may have 50 jobs waiting and running"),
        ('options.qos = "fast"\nworkers = 12', "QOS fast may have 9 jobs"),
    ],
)
def test_more_workers_than_fit_are_no_fault(
    site: Path, folder: Path, lines: str, expected: str
) -> None:
    assert site.exists()
    ended = doctor(folder, f"[stage.prepare.resources]\n{lines}\n", "low", "team")
    assert expected in findings_text(ended, "good")


def test_arrays_and_nodes_that_are_away_are_named(site: Path, folder: Path) -> None:
    assert site.exists()
    ended = doctor(folder, "[stage.prepare.resources]\nworkers = 45\n")
    assert "an array has at most 40 tasks (MaxArraySize)" in findings_text(ended, "good")
    closed = findings_text(doctor(folder, partition="closed"), "warn")
    assert "partition closed is DOWN" in closed
    lwo = findings_text(doctor(folder, partition="lwo"), "error")
    assert "did you mean 'low'?" in lwo


def test_gpus_limits_and_fp8_are_reported(site: Path, folder: Path) -> None:
    assert site.exists()
    lines = "[stage.prepare.resources]\nworkers = 3\ngpus_per_node = 2\n"
    good = findings_text(doctor(folder, lines), "good")
    assert "2 of 3 workers run at once under the limits of account team" in good
    assert "GPUs of type 'h100' support FP8" in good


def test_accounting_that_is_down_is_reported_and_is_no_failure(site: Path, folder: Path) -> None:
    end(site.parent, "slurmdbd")
    try:
        ended = doctor(folder, account="")
        assert "accounting does not answer" in findings_text(ended, "warn")
        assert ended.code == 0, ended.out
    finally:
        start("slurmdbd", MYSQL_UNIX_PORT=f"{site.parent}/mariadb.socket")


def test_a_compute_node_is_checked_on_request(site: Path, folder: Path) -> None:
    assert site.exists()
    path = folder.parent / "site.toml"
    path.write_text(SITE.format(partition="low", account="team"))
    data = folder.parent / "rows.jsonl"
    data.write_text('{"instruction": "Add", "input": "", "output": "done"}\n')
    recipe = folder.parent / "recipe.toml"
    recipe.write_text(f'[rows]\nstage = "prepare"\ndata = "{data}"\n')
    ended = run_command(
        f"launcher={path}",
        f"recipe={recipe}",
        f"work={folder}",
        "job=true",
        "format=json",
        module="doctor",
    )
    good = findings_text(ended, "good")
    assert ended.code == 0, ended.out
    assert f"{folder} is that of the login node" in good
    assert "on node" in good
    assert "import torch, vllm, transformers works" in good
    assert "`sbatch --test-only` accepts jobs from here" in good
    assert "waiting for a node as " in ended.err
    assert list(folder.iterdir()) == []


@pytest.mark.long
def test_the_gpus_of_a_compute_node_are_tried_all_together(site: Path, folder: Path) -> None:
    assert site.exists()
    paths = os.pathsep.join(map(str, (STANDIN, STANDIN.parent.parent)))
    lines = (
        "[stage.prepare.resources]\ngpus_per_node = 2\n"
        f'[environment]\nPYTHONPATH = "{paths}"\nHALA_FAULT = "fake_gpus="\n'
    )
    ended = doctor(folder, lines, more=("job=true",))
    assert (
        "2 GPUs are free, have no errors and give right results; a Triton kernel compiles and "
        "runs, and their all-reduce works"
    ) in findings_text(ended, "good"), ended


def test_a_controller_that_is_away_is_an_error_and_the_rest_is_checked(
    site: Path, folder: Path
) -> None:
    end(site.parent, "slurmctld")
    try:
        ended = doctor(folder)
        assert ended.code == 78
        assert "does not answer" in findings_text(ended, "error")
        assert "read back work" in findings_text(ended, "good")
    finally:
        start("slurmctld", "-f", str(site))
