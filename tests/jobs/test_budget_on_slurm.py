"""A budget of GPU hours on a real SLURM: usage counts, and stops launches and gates."""

import json
import os
import signal
from pathlib import Path

import pytest
from command_line import launch, run_command
from held import JobHold
from slow_run import read_node_states, write_stand_in_launcher, write_stand_in_recipe

from benchmarks.common.waiting import wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("minislurm")]


def status_of(work: Path) -> str:
    """The text output of status."""
    return run_command(f"work={work}", module="status").out


def wait_for_state(work: Path, node: str, state: str) -> None:
    """Wait until a node is in a state."""
    wait_until(
        lambda: read_node_states(work)[node]["state"] == state,
        f"{node} is {state}",
        pause_s=1,
        state=lambda: read_node_states(work),
    )


def test_the_usage_of_a_run_is_shown_beside_the_estimate_and_counts_against_the_budget(
    tmp_path: Path, work: Path
) -> None:
    arguments = ["stage=all", write_stand_in_recipe(tmp_path, rows=40), f"work={work}"]
    # Accounting counts whole seconds: each worker takes at least two.
    arguments += [write_stand_in_launcher(tmp_path, 0.1), "arabic.resources.gpus_per_node=2"]
    assert launch(*arguments, "budget_gpu_hours=1000").code == 0
    wait_for_state(work, "report", "done")
    arabic = read_node_states(work)["arabic"]
    # Two workers, two GPUs each, and 90 s for a start by the table.
    assert arabic["gpu_hours_estimate"] == pytest.approx(0.1, rel=0.1)
    assert 0 < arabic["gpu_hours"] < 1
    assert read_node_states(work)["english"]["gpu_hours_estimate"] == 0
    result = status_of(work)
    assert f"{arabic['gpu_hours']:.2f} of ~0.10" in result
    assert "of budget_gpu_hours=1000 are spent" in result

    # The same node with another prompt: its cost is estimated from the previous one.
    again = [*arguments, "arabic.prompt=Now:{text}"]
    plan = launch(*again, "dry_run=true").out
    assert "(measured)" in next(row for row in plan.splitlines() if row.startswith("arabic "))
    small = arabic["gpu_hours"] / 2
    for argument in ("confirm=true", "confirm=false"):
        refused = launch(*again, f"budget_gpu_hours={small}", argument)
        assert refused.code == 78, refused
        assert "GPU hours are spent in" in refused.err
    assert read_node_states(work)["arabic"]["state"] == "done"


@pytest.mark.long
def test_a_gate_submits_no_more_when_the_budget_is_spent(tmp_path: Path, work: Path) -> None:
    # Two GPUs of each worker for at least two seconds: more than the budget.
    held = JobHold(tmp_path, after=100)
    launcher = write_stand_in_launcher(tmp_path, 0.02, held)
    arguments = ["stage=all", write_stand_in_recipe(tmp_path), f"work={work}", launcher]
    arguments += ["arabic.resources.gpus_per_node=2", "budget_gpu_hours=0.0005"]
    assert "budget_gpu_hours=0.0005" in launch(*arguments).err
    assert launch(*arguments, "confirm=true").code == 0
    wait_until(
        lambda: read_node_states(work)["arabic"]["units_done"] > 0, "the first unit", pause_s=1
    )
    workers = work / "latest/arabic/progress"
    wait_until(lambda: len(list(workers.glob("*.json"))) == 2, "both workers are at work")
    for path in workers.glob("*.json"):
        child = json.loads(path.read_text())["pid"]
        supervisor = int(Path(f"/proc/{child}/stat").read_text().split()[3])
        os.kill(supervisor, signal.SIGKILL)
    wait_for_state(work, "arabic", "failed")
    held.release()
    arabic = read_node_states(work)["arabic"]
    assert arabic["why"].startswith("budget_gpu_hours=0.0005: ")
    assert "GPU hours are spent; nothing more is submitted" in arabic["why"]
    failure = json.loads((work / "latest/arabic/failure.json").read_text())
    assert (failure["code"], len(failure["reasons"])) == (78, 1)
    # With a larger budget the same command resumes, and finished nodes stay done.
    assert (
        launch(*arguments[:-1], "budget_gpu_hours=1000", "arabic.engine.max_num_seqs=8").code == 0
    )
    wait_for_state(work, "report", "done")
