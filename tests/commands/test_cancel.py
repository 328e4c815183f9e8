"""Cancel ends what works on a run, in an order that breaks nothing, and keeps what is done."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import launch, one_row_recipe, run_command
from held import JobHold
from slow_run import (
    read_node_states,
    standin_variables,
    units_done,
    write_stand_in_launcher,
    write_stand_in_recipe,
)

from benchmarks.common.waiting import WAIT_S, wait_until

#: Answers of a worker until it waits: some of the eight units, and not all.
SOME = 200


def jobs_of_this_user() -> list[str]:
    command = ["squeue", "--noheader", "--format=%F|%j|%T"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT_S)
    return ended.stdout.splitlines()


def job_ids(work: Path, node: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((work / "latest" / node / "jobs.json").read_text())
    return found


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.usefixtures("minislurm")
def test_jobs_of_a_run_end_gates_first_and_the_same_command_resumes(
    tmp_path: Path, work: Path
) -> None:
    arguments = ["stage=all", write_stand_in_recipe(tmp_path), f"work={work}"]
    held = JobHold(tmp_path, after=SOME)
    assert launch(*arguments, write_stand_in_launcher(tmp_path, held=held)).code == 0
    wait_until(lambda: units_done(work) > 0, "the first unit", pause_s=0.2)
    wait_until(
        lambda: read_node_states(work)["arabic"]["workers_running"] == 2,
        "both workers run",
        pause_s=1,
        state=lambda: read_node_states(work),
    )
    gates = [job_ids(work, node)["gate"] for node in ("arabic", "report")]

    plan = run_command(f"work={work}", "dry_run=true", module="cancel")
    assert plan.code == 0, plan
    lines = plan.out.splitlines()
    assert lines[0] == f"report: gate {gates[1]}, waiting"
    assert lines[1] == f"arabic: gate {gates[0]}, waiting"
    assert lines[2].startswith("report: workers")
    assert lines[3].startswith("arabic: workers")
    assert "2 running" in lines[3]
    assert jobs_of_this_user()

    done = run_command(f"work={work}", module="cancel")
    assert done.code == 0, done
    assert jobs_of_this_user() == []
    done_before = units_done(work)
    assert f"arabic: {done_before} of 8 units are done and stay" in done.out
    assert "resume with: python -m hala_hpc.launch stage=all" in done.out
    # No gate saw the end of its workers: nothing has failed and nothing was submitted again.
    assert not list(work.glob("*/failure.json"))
    assert {name: node["state"] for name, node in read_node_states(work).items()} == {
        "english": "done",
        "arabic": "partial",
        "report": "new",
    }
    assert "nothing to cancel" in run_command(f"work={work}", module="cancel").out

    markers = sorted(path.stat().st_ino for path in (work / "latest/arabic/done").iterdir())
    held.release()
    assert launch(*arguments, write_stand_in_launcher(tmp_path)).code == 0
    wait_until(
        lambda: all(node["state"] == "done" for node in read_node_states(work).values()),
        "the end of every node",
        pause_s=1,
        state=lambda: read_node_states(work),
    )
    after = {path.stat().st_ino for path in (work / "latest/arabic/done").iterdir()}
    assert set(markers) <= after


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.usefixtures("minislurm")
def test_a_node_ends_with_all_that_wait_for_it_and_no_others(tmp_path: Path, work: Path) -> None:
    text = (tmp_path / "recipe.toml", write_stand_in_recipe(tmp_path))[0].read_text()
    away = '{ cpus_per_rank = 1, mem_gb = 1, options.begin = "now+1hour" }'
    (tmp_path / "recipe.toml").write_text(
        f'{text}[other]\nlike = "english"\nunits = 2\nresources = {away}\n'
    )
    arguments = ["stage=all", f"recipe={tmp_path}/recipe.toml", f"work={work}"]
    held = JobHold(tmp_path, after=SOME)
    assert launch(*arguments, write_stand_in_launcher(tmp_path, held=held)).code == 0
    done = run_command(f"work={work}", "node=translate", module="cancel")
    assert done.code == 0, done
    left = {row.split("|")[0] for row in jobs_of_this_user()}
    assert {job_ids(work, "other")[key] for key in ("workers", "gate")} <= left
    gone = {
        job_ids(work, node)[key] for node in ("arabic", "report") for key in ("workers", "gate")
    }
    assert not gone & left
    assert run_command(f"work={work}", module="cancel").code == 0
    assert jobs_of_this_user() == []


@pytest.mark.slow
def test_a_run_on_this_machine_ends_and_keeps_its_units(tmp_path: Path, work: Path) -> None:
    arguments = ["stage=all", write_stand_in_recipe(tmp_path), f"work={work}"]
    running = subprocess.Popen(
        [sys.executable, "-m", "hala_hpc.launch", *arguments],
        env={**os.environ, **standin_variables(held=JobHold(tmp_path, after=SOME))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: units_done(work) > 0, "the first unit")
        one = run_command(f"work={work}", "node=arabic", module="cancel")
        assert one.code == 64
        assert "ends as a whole" in one.err
        ended = run_command(f"work={work}", "dry_run=true", module="cancel")
        assert f"process {running.pid} " in ended.out
        assert running.poll() is None
        done = run_command(f"work={work}", module="cancel")
        assert done.code == 0, done
        assert "are done and stay" in done.out
        _, err = running.communicate(timeout=WAIT_S)
        assert running.returncode == 75
        assert "finished units are kept" in err
    finally:
        running.send_signal(signal.SIGKILL)
    assert 0 < units_done(work) < 8
    assert not list(work.glob("*/failure.json"))


def test_cancel_reports_that_there_is_nothing_and_names_unknown_arguments(
    tmp_path: Path, work: Path
) -> None:
    assert launch("stage=all", one_row_recipe(tmp_path), f"work={work}").code == 0
    ended = run_command(f"work={work}", module="cancel")
    assert (ended.code, "nothing to cancel" in ended.out) == (0, True)
    wrong = run_command(f"work={work}", "nod=corpus", "node=corpsu", module="cancel")
    assert (wrong.code, "did you mean 'node'?" in wrong.err) == (64, True)
    wrong = run_command(f"work={work}", "node=corpsu", module="cancel")
    assert "did you mean 'corpus'?" in wrong.err
    lease = {"host": "elsewhere", "pid": 1, "since": "today"}
    (work / "launch.lease").write_text(json.dumps(lease))
    away = run_command(f"work={work}", module="cancel")
    assert (away.code, "process 1 on elsewhere" in away.err) == (75, True)
