"""One command makes a result, and the same command resumes it, whatever happened before."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builds import built_for_gpus
from command_line import launch, recipe
from held import JobHold

from benchmarks.common.waiting import WAIT_S, wait_until

ROWS = 4000


def write_rows(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for number in range(count):
            row = {"instruction": f"What is {number} plus one?", "output": str(number + 1)}
            stream.write(json.dumps(row) + "\n")


def small_recipe(tmp_path: Path, count: int = 40) -> str:
    write_rows(tmp_path / "rows.jsonl", count)
    text = f'[corpus]\nstage = "prepare"\ndata = "{tmp_path}/rows.jsonl"\nunits = 4\n'
    return recipe(tmp_path, text)


def summary(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "latest/corpus/summary.json").read_text())
    return found


def one_unit_recipe(tmp_path: Path) -> str:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    return recipe(tmp_path, f'[corpus]\nstage="prepare"\ndata="{tmp_path}/rows.jsonl"\n')


@pytest.fixture
def held(tmp_path: Path) -> JobHold:
    """Lets the worker of a launch be disturbed while it works, however fast it is."""
    return JobHold(tmp_path)


def start_launch(held: JobHold, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "hala_hpc.launch", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | held.variables,
        # Tests that are started with nohup ignore it, and the launch would ignore it as well.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # noqa: PLW1509
    )


def child_of(work: Path) -> int:
    """Process number of the model code, once it has read its rows."""
    progress = work / "latest/corpus/progress/00000-0000.json"
    wait_until(lambda: progress.exists() and "rows" in progress.read_text(), "a worker reads rows")
    return int(json.loads(progress.read_text())["pid"])


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def test_the_same_command_again_submits_nothing(tmp_path: Path, work: Path) -> None:
    argument = small_recipe(tmp_path)
    assert launch("stage=all", argument, f"work={work}").code == 0
    before = {path: path.stat().st_mtime_ns for path in work.glob("corpus-*/**/*")}
    again = launch("stage=all", argument, f"work={work}")
    assert (again.code, "nothing to submit" in again.out) == (0, True)
    assert {path: path.stat().st_mtime_ns for path in work.glob("corpus-*/**/*")} == before


@pytest.mark.slow
def test_a_changed_setting_makes_a_new_result_and_leaves_the_old(
    tmp_path: Path, work: Path
) -> None:
    argument = small_recipe(tmp_path)
    assert launch("stage=all", argument, f"work={work}").code == 0
    ended = launch("stage=all", argument, f"work={work}", "corpus.units=2", "dry_run=true")
    assert "stale (units: 4 -> 2)" in ended.out
    assert launch("stage=all", argument, f"work={work}", "corpus.units=2").code == 0
    assert len(list(work.glob("corpus-*"))) == 2
    assert summary(work)["units"] == 2


def test_changing_only_resources_changes_no_result(tmp_path: Path, work: Path) -> None:
    argument = small_recipe(tmp_path)
    assert launch("stage=all", argument, f"work={work}").code == 0
    again = launch("stage=all", argument, f"work={work}", "corpus.resources.timeout_min=5")
    assert "nothing to submit" in again.out


def test_a_changed_input_file_makes_the_node_stale(tmp_path: Path, work: Path) -> None:
    argument = small_recipe(tmp_path)
    assert launch("stage=all", argument, f"work={work}").code == 0
    write_rows(tmp_path / "rows.jsonl", 41)
    ended = launch("stage=all", argument, f"work={work}", "dry_run=true")
    assert "changed" in ended.out


@pytest.mark.slow
def test_a_killed_worker_is_tried_again_to_the_same_result(
    tmp_path: Path, work: Path, held: JobHold
) -> None:
    argument = one_unit_recipe(tmp_path)
    running = start_launch(held, "stage=all", argument, f"work={work}")
    os.kill(child_of(work), signal.SIGKILL)
    held.release()
    assert running.wait(timeout=WAIT_S) == 0
    found = summary(work)
    assert (found["rows_in"], found["rows_out"], found["rounds"]) == (ROWS, ROWS, 2)
    left = [path for path in (work / "latest/corpus/attempts").iterdir() if path.is_dir()]
    assert left == []


@pytest.mark.slow
def test_two_rounds_without_progress_end_and_the_same_command_starts_again(
    tmp_path: Path, work: Path, held: JobHold
) -> None:
    argument = one_unit_recipe(tmp_path)
    running = start_launch(held, "stage=all", argument, f"work={work}")
    killed = child_of(work)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: child_of(work) != killed, "another worker reads rows")
    os.kill(child_of(work), signal.SIGKILL)
    _, output = running.communicate(timeout=WAIT_S)
    assert running.returncode == 70
    assert "2 rounds of jobs ended without progress" in output
    assert launch("stage=all", argument, f"work={work}").code == 0
    assert summary(work)["rows_out"] == ROWS


@pytest.mark.slow
def test_a_killed_launch_leaves_no_process_and_its_command_resumes(
    tmp_path: Path, work: Path, held: JobHold
) -> None:
    argument = one_unit_recipe(tmp_path)
    running = start_launch(held, "stage=all", argument, f"work={work}")
    child = child_of(work)
    running.kill()
    running.wait(timeout=WAIT_S)
    wait_until(lambda: is_gone(child), "the child ends with the launch")
    assert launch("stage=all", argument, f"work={work}").code == 0
    assert summary(work)["rows_in"] == ROWS


@pytest.mark.slow
def test_a_killed_supervisor_takes_its_child_along(
    tmp_path: Path, work: Path, held: JobHold
) -> None:
    argument = one_unit_recipe(tmp_path)
    running = start_launch(held, "stage=all", argument, f"work={work}")
    child = child_of(work)
    supervisor = int(Path(f"/proc/{child}/stat").read_text().split()[3])
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: is_gone(child), "the child ends with its supervisor")
    held.release()
    assert running.wait(timeout=WAIT_S) == 0
    assert summary(work)["rows_in"] == ROWS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_launch_that_is_asked_to_stop_prints_how_to_resume(
    tmp_path: Path, work: Path, held: JobHold, number: signal.Signals
) -> None:
    argument = one_unit_recipe(tmp_path)
    running = start_launch(held, "stage=all", argument, f"work={work}")
    child = child_of(work)
    running.send_signal(number)
    _, output = running.communicate(timeout=WAIT_S)
    assert running.returncode == 75
    assert "run the same command again to resume" in output
    assert is_gone(child)


def test_a_second_launch_in_the_same_folder_is_refused(
    tmp_path: Path, work: Path, held: JobHold
) -> None:
    argument = one_unit_recipe(tmp_path)
    running = start_launch(held, "stage=all", argument, f"work={work}")
    child_of(work)
    second = launch("stage=all", argument, f"work={work}")
    assert second.code == 75
    assert f"process {running.pid}" in second.err
    held.release()
    assert running.wait(timeout=WAIT_S) == 0


@pytest.mark.slow
def test_a_unit_published_without_its_marker_is_checked_and_gets_one(
    tmp_path: Path, work: Path
) -> None:
    argument = small_recipe(tmp_path)
    assert launch("stage=all", argument, f"work={work}").code == 0
    artifact = (work / "latest/corpus").resolve()
    shard = artifact / "units/00001/part-00001.parquet"
    before = shard.stat().st_ino
    (artifact / "done/00001.json").unlink()
    (artifact / "summary.json").unlink()
    ended = launch("stage=all", argument, f"work={work}", "dry_run=true")
    assert "partial (3/4)" in ended.out
    assert launch("stage=all", argument, f"work={work}").code == 0
    assert shard.stat().st_ino == before
    assert summary(work)["rows_out"] == 40


@pytest.mark.parametrize("name", ["demo", "hala"])
def test_every_shipped_recipe_plans_with_every_shipped_launcher(
    name: str, tmp_path: Path, work: Path
) -> None:
    for launcher in ("local", "slurm", "minislurm", "h100-site"):
        site = built_for_gpus(tmp_path, launcher)
        ended = launch("stage=all", f"recipe={name}", site, f"work={work}", "dry_run=true")
        assert ended.code == 0, ended
        assert ("--job-name=" in ended.out) == (launcher != "local")
    assert not work.exists()
