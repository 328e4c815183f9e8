"""Failures on a real SLURM: the class of each, and the remedy of the next round."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import STANDIN
from command_line import launch, one_row_recipe, run_command
from job_states import states
from minislurm_fixture import MINISLURM
from slow_run import read_node_states

from benchmarks.common.waiting import WAIT_S, wait_until
from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.backends.slurm.sacct import JobEnd, NamedJob, query_task_exits
from hala_hpc.core.errors import FailureClass

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(900)]
#: Timeout in seconds for the end of a node: some go through several rounds.
LIMIT_S = 400


def launcher_with(folder: Path, fault: str, resources: str = "", setup: str = "") -> str:
    """`launcher=...` for jobs with an injected fault."""
    path = folder / "faults.toml"
    paths = os.pathsep.join(map(str, (STANDIN, STANDIN.parent.parent)))
    path.write_text(
        f'backend = "slurm"\nsetup = [{setup}]\n'
        "[resources]\ncpus_per_rank = 1\nmem_gb = 1\n"
        f"{'' if 'timeout_min' in resources else 'timeout_min = 5'}\n"
        f'options.partition = "low"\n{resources}\n[gate]\ntimeout_min = 5\nmem_gb = 1\n'
        f'[environment]\nHALA_DEVICE = "cpu"\nPYTHONPATH = "{paths}"\nHALA_FAULT = "{fault}"\n'
    )
    return f"launcher={path}"


def ended(tmp_path: Path, work: Path, launcher: str, units: int = 1) -> dict[str, Any]:
    """The status of the node `corpus` once it is done or has failed."""
    arguments = ["stage=all", one_row_recipe(tmp_path, units), f"work={work}", launcher]
    result = launch(*arguments)
    assert result.code == 0, result
    wait_until(
        lambda: read_node_states(work)["corpus"]["state"] in ("done", "failed"),
        "the end of the node",
        LIMIT_S,
        pause_s=0.5,
        state=lambda: read_node_states(work),
    )
    return read_node_states(work)["corpus"]


def json_of(work: Path, name: str) -> dict[str, Any]:
    """A file of the node `corpus`."""
    found: dict[str, Any] = json.loads((work / "latest/corpus" / name).read_text())
    return found


def kinds(work: Path, number: int) -> list[str]:
    """Classes of the failures of a round."""
    found = json_of(work, f"attempts/failures-{number:04d}.json")["failures"]
    return [failure["kind"] for failure in found]


@pytest.mark.usefixtures("minislurm")
def test_a_worker_that_is_killed_is_classified_and_retried(tmp_path: Path, work: Path) -> None:
    node = ended(tmp_path, work, launcher_with(tmp_path, "killed"))
    assert node["state"] == "done", node
    assert kinds(work, 1) == [FailureClass.KILLED]
    (failure,) = json_of(work, "attempts/failures-0001.json")["failures"]
    assert failure["text"].startswith("it left no record; SLURM reports FAILED")
    assert failure["nodes"][0].startswith("node")
    assert json_of(work, "summary.json")["because"] == []


@pytest.mark.long
@pytest.mark.usefixtures("minislurm")
def test_a_time_limit_that_is_too_short_is_named_with_its_setting(
    tmp_path: Path, work: Path
) -> None:
    # The attempt never gets the file it waits for, and ignores the signal before the time limit.
    fault = f"hold={tmp_path}/never"
    node = ended(tmp_path, work, launcher_with(tmp_path, fault, "timeout_min = 1"))
    assert node["state"] == "failed", node
    assert "timeout_min=1 is too short" in node["why"]
    assert "[node.corpus.resources]" in node["why"]
    assert (kinds(work, 1), kinds(work, 2)) == ([FailureClass.TIMEOUT], [FailureClass.TIMEOUT])
    assert json_of(work, "failure.json")["code"] == 78


@pytest.mark.usefixtures("minislurm")
def test_three_workers_with_the_same_traceback_are_enough(tmp_path: Path, work: Path) -> None:
    launcher = launcher_with(tmp_path, "defect", "workers = 3")
    node = ended(tmp_path, work, launcher, units=3)
    assert node["state"] == "failed", node
    assert "3 attempts ended with the same traceback, ZeroDivisionError in " in node["why"]
    assert "hala_hpc/jobs/attempt.py, line " in node["why"]
    assert (work / "latest/corpus").resolve().joinpath("rounds/0001.json").exists()
    result = next(work.glob("corpus-*/attempts/failures-0001.json")).read_text()
    assert kinds(work, 1) == [FailureClass.EXCEPTION] * 3, result
    assert len(list((work / "latest/corpus/rounds").iterdir())) == 1
    failure = json_of(work, "failure.json")
    assert failure["code"] == 70
    assert failure["reasons"][0]["kind"] == FailureClass.EXCEPTION
    lines = [line for reason in failure["reasons"] for line in reason["log_tail"]]
    assert any("ZeroDivisionError: integer division" in line for line in lines)


@pytest.mark.long
@pytest.mark.usefixtures("minislurm")
def test_nodes_with_a_bad_gpu_are_excluded_and_named(tmp_path: Path, work: Path) -> None:
    gpu = 'gpus_per_node = 2\noptions.gpu_type = "h100"\noptions.exclude = "node1"'
    launcher = launcher_with(tmp_path, "bad_nodes=node2+node3", gpu)
    node = ended(tmp_path, work, launcher)
    assert node["state"] == "done", node
    assert [kinds(work, number) for number in (1, 2)] == [[FailureClass.NODE_FAILURE]] * 2
    spec = json_of(work, "rounds/0003.json")["spec"]
    assert spec["resources"]["options"]["exclude"] == "node1,node2,node3"
    assert spec["because"] == [
        "node3 is excluded: node node3: GPU 0 (Fake, GPU-fake-0): 4 uncorrected memory errors "
        "(ECC) since its driver was loaded"
    ]
    because = json_of(work, "summary.json")["because"]
    assert [text.split()[0] for text in because] == ["node2", "node3"]
    log = (work / "latest/corpus/logs/worker-00000-0000.log").read_text()
    assert "node node4: 2 GPUs are free, have no errors and give right results" in log


@pytest.mark.usefixtures("minislurm")
def test_a_driver_that_is_too_old_ends_the_node_at_once_and_excludes_no_node(
    tmp_path: Path, work: Path
) -> None:
    gpu = 'gpus_per_node = 1\noptions.gpu_type = "h100"'
    node = ended(tmp_path, work, launcher_with(tmp_path, "fake_gpus=12.4", gpu))
    assert node["state"] == "failed", node
    assert "needs R580 or newer" in node["why"]
    assert kinds(work, 1) == [FailureClass.CONFIG_ERROR]
    assert json_of(work, "failure.json")["code"] == 78
    rounds = list((work / "latest/corpus/rounds").iterdir())
    assert len(rounds) == 1
    assert json_of(work, "rounds/0001.json")["spec"]["bad_nodes"] == []


@pytest.mark.long
@pytest.mark.usefixtures("minislurm")
def test_a_bad_node_takes_one_worker_of_an_array_and_not_all(tmp_path: Path, work: Path) -> None:
    gpu = 'workers = 5\ngpus_per_node = 1\noptions.max_running = "1"'
    node = ended(tmp_path, work, launcher_with(tmp_path, "bad_nodes=node1", gpu), units=5)
    assert node["state"] == "done", node
    assert kinds(work, 1) == [FailureClass.NODE_FAILURE]
    assert len(json_of(work, "rounds/0002.json")["assignment"]) == 1


#: A module that does not exist.
MISSING = "echo no module cuda/13.0 >&2; false"


@pytest.mark.usefixtures("minislurm")
def test_a_set_up_line_that_fails_ends_the_node_at_once_and_is_reported(
    tmp_path: Path, work: Path
) -> None:
    setup_line = f"case $SLURM_JOB_NAME in gate-*) ;; *) {MISSING} ;; esac"
    node = ended(tmp_path, work, launcher_with(tmp_path, "", setup=f'"{setup_line}"'))
    assert node["state"] == "failed", node
    assert "no module cuda/13.0" in node["why"]
    assert kinds(work, 1) == [FailureClass.CONFIG_ERROR]
    assert len(list((work / "latest/corpus/rounds").iterdir())) == 1
    failure = json_of(work, "failure.json")
    assert failure["code"] == 78
    tail = failure["reasons"][0]["log_tail"]
    assert "logs/job-" in tail[0]
    assert "  no module cuda/13.0" in tail
    printed = run_command(f"work={work}", module="logs")
    assert printed.code == 0, printed
    assert "no module cuda/13.0" in printed.out


@pytest.mark.usefixtures("minislurm")
def test_a_set_up_line_that_fails_for_the_gate_too_is_shown_by_status_and_logs(
    tmp_path: Path, work: Path
) -> None:
    launcher = launcher_with(tmp_path, "", setup=f'"{MISSING}"')
    result = launch("stage=all", one_row_recipe(tmp_path), f"work={work}", launcher)
    assert result.code == 0, result
    jobs = list(json_of(work, "jobs.json").values())[-2:]
    wait_for_states(jobs, {})
    node = read_node_states(work)["corpus"]
    assert "no module cuda/13.0" in node["why"]
    assert f"logs/job-{jobs[1]}.out" in node["why"]
    printed = run_command(f"work={work}", module="logs")
    assert printed.code == 0, printed
    assert "no module cuda/13.0" in printed.out


def sbatch(folder: Path, *arguments: str) -> str:
    """Submit a job by hand; return its id."""
    command = [
        "sbatch",
        "--parsable",
        "--partition=low",
        "--mem=1G",
        f"--chdir={folder}",
        *arguments,
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=WAIT_S)
    return done.stdout.strip()


def wait_for_states(ids: list[str], wanted: dict[str, str]) -> None:
    """Wait until SLURM reports exactly these states of some jobs."""
    wait_until(
        lambda: states(ids) == wanted,
        f"{wanted or 'the end'} of {ids}",
        pause_s=0.5,
        state=lambda: states(ids),
    )


@pytest.mark.usefixtures("minislurm")
def test_the_scheduler_and_a_person_cancel_jobs_in_different_ways(tmp_path: Path) -> None:
    failed = sbatch(tmp_path, "--wrap=false")
    after = ("--kill-on-invalid-dep=yes", f"--dependency=afterok:{failed}")
    waits = sbatch(tmp_path, "--array=0-2", *after, "--wrap=true")
    person = sbatch(tmp_path, "--array=0-1%1", "--wrap=sleep infinity")
    wait_for_states([waits, failed], {})
    wait_for_states([person], {person: "running"})
    SlurmBackend().cancel([person])
    wait_for_states([person], {})
    # The name that sbatch gives a job made with `--wrap`.
    ends = query_task_exits([NamedJob(number, "wrap") for number in (failed, waits, person)])
    assert query_task_exits([NamedJob(failed, "another")]) == {}
    assert [end.kind for end in ends[failed]] == [JobEnd.FAILED]
    assert {
        end.kind for job, result in ends.items() if job.startswith(waits) for end in result
    } == {JobEnd.DEPENDENCY}
    assert {
        end.kind for job, result in ends.items() if job.startswith(person) for end in result
    } == {FailureClass.CANCELLED}


@pytest.fixture(scope="module")
def constrained() -> Iterator[None]:
    """A separate cluster that enforces memory limits, as real ones do."""
    sys.path.insert(0, str(MINISLURM.parent))
    from rig import cluster, daemons
    from rig.errors import RigError

    folder = Path(tempfile.mkdtemp(prefix="minislurm-memory-")) / "cluster"
    with pytest.MonkeyPatch.context() as patch:
        try:
            cluster.check_root()
            cluster.check_machine(folder)
            cluster.write(folder, "cgroup", "enforced")
            daemons.start(folder)
        except RigError as error:
            daemons.stop(folder)
            if os.environ.get("HALA_REQUIRE_SLURM") == "1":
                raise
            pytest.skip(str(error))
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        yield
        daemons.stop(folder)
    shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.mark.long
@pytest.mark.usefixtures("constrained")
def test_too_little_memory_is_raised_up_to_what_is_allowed(tmp_path: Path, work: Path) -> None:
    node = ended(tmp_path, work, launcher_with(tmp_path, "memory=1400"))
    assert node["state"] == "done", node
    assert kinds(work, 1) == [FailureClass.HOST_OOM]
    assert json_of(work, "attempts/failures-0001.json")["memory_limit_gb"] == 256
    spec = json_of(work, "rounds/0002.json")["spec"]
    assert spec["resources"]["mem_gb"] == 2
    (because,) = json_of(work, "summary.json")["because"]
    assert because.startswith("mem_gb is 2 instead of 1: the kernel killed it: out of memory")
    limited = launcher_with(tmp_path, "memory=1400", "mem_limit_gb = 1")
    node = ended(tmp_path, work.with_name("limited"), limited)
    assert node["state"] == "failed", node
    assert "mem_gb=1 is too small, and at most 1 may be requested" in node["why"]
