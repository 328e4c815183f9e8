"""Checkpoints are complete or not used, whatever happens while they are saved."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from plain_out import PlainContext

from benchmarks.common.waiting import WAIT_S
from hala_hpc.backends.slurm.task_environment import query_job_end
from hala_hpc.core.errors import CANNOT_CREATE, TransientError, UserError
from hala_hpc.core.job_records import CheckpointCommit
from hala_hpc.engines.training.checkpoint_interval import SavingClock, young_interval_s
from hala_hpc.engines.training.checkpoints import (
    COMMIT_FILE,
    commit_checkpoint,
    find_newest_verified,
    prune_checkpoints,
    remove_all_checkpoints,
    remove_leftovers,
    staging_folder,
)
from hala_hpc.engines.training.collectives import run_on_all_ranks
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.engines.training.universal_checkpoint import convert_for_ranks

FACTS = CheckpointCommit(step=0, world_size=1, zero_stage=2, files={})


def stage(state_dir: Path, step: int) -> Path:
    """Write the files of a checkpoint as the trainer does."""
    staged = staging_folder(state_dir, "a1") / f"checkpoint-{step}"
    (staged / "global_step").mkdir(parents=True)
    (staged / "global_step" / "weights").write_text(f"whole {step}")
    (staged / "state").write_text("whole")
    return staged


def save(state_dir: Path, step: int) -> Path:
    final = state_dir / f"checkpoint-{step}"
    commit_checkpoint(stage(state_dir, step), final, FACTS, lambda: None)
    return final


def test_a_torn_checkpoint_is_skipped_with_the_reason(tmp_path: Path) -> None:
    for step in (5, 10, 20, 30, 40):
        save(tmp_path, step)
    (tmp_path / "checkpoint-40" / COMMIT_FILE).unlink()
    (tmp_path / "checkpoint-30" / "global_step" / "weights").unlink()
    (tmp_path / "checkpoint-20" / "state").write_text("cut")
    (tmp_path / "checkpoint-10" / "state").write_text("wholE")
    start, torn = find_newest_verified(tmp_path)
    assert start == tmp_path / "checkpoint-5"
    assert torn == [
        "checkpoint-40 is skipped: it was never finished (no COMMIT.json)",
        "checkpoint-30 is skipped: global_step/weights is missing",
        "checkpoint-20 is skipped: state has 3 bytes, not 5",
        "checkpoint-10 is skipped: state is not what was saved (its digest differs)",
    ]
    remove_leftovers(tmp_path, start)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def test_an_unreadable_commit_file_is_none(tmp_path: Path) -> None:
    save(tmp_path, 5)
    (save(tmp_path, 6) / COMMIT_FILE).write_text('{"files": {')
    assert find_newest_verified(tmp_path)[0] == tmp_path / "checkpoint-5"


def test_the_commit_file_lists_every_file_with_its_digest(tmp_path: Path) -> None:
    commit = json.loads((save(tmp_path, 7) / COMMIT_FILE).read_text())
    assert {name: facts["bytes"] for name, facts in commit["files"].items()} == {
        "global_step/weights": 7,
        "state": 5,
    }
    assert all(len(facts["digest"]) == 32 for facts in commit["files"].values())
    assert (commit["world_size"], commit["zero_stage"]) == (1, 2)


def test_what_was_left_in_the_way_is_replaced(tmp_path: Path) -> None:
    (save(tmp_path, 5) / "state").write_text("cut")
    assert find_newest_verified(tmp_path)[0] is None
    assert find_newest_verified(save(tmp_path, 5).parent)[0] == tmp_path / "checkpoint-5"


def test_an_attempt_without_the_lease_publishes_nothing(tmp_path: Path) -> None:
    def lost() -> None:
        raise TransientError("the lease went to another")

    with pytest.raises(TransientError, match="the lease went to another"):
        commit_checkpoint(stage(tmp_path, 5), tmp_path / "checkpoint-5", FACTS, lost)
    assert find_newest_verified(tmp_path) == (None, [])


def test_the_newest_remain_and_all_are_removed_at_the_end(tmp_path: Path) -> None:
    for step in (5, 10, 200):
        save(tmp_path, step)
    prune_checkpoints(tmp_path, 2)
    assert {path.name for path in tmp_path.glob("ch*")} == {"checkpoint-10", "checkpoint-200"}
    (tmp_path / "tokens.json").touch()
    remove_all_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.json"]


def test_a_full_disk_is_an_error_and_other_errors_are_transient() -> None:
    def fail(number: int) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(UserError, match=r"cannot be saved: .*No space left") as caught:
        run_on_all_ranks(lambda: fail(errno.ENOSPC))
    assert caught.value.code == CANNOT_CREATE
    with pytest.raises(TransientError, match="Stale file handle"):
        run_on_all_ranks(lambda: fail(errno.ESTALE))


STRACE = ["strace", "-f", "-qq", "-o", "/dev/null", "-e"]
SAVE_THREE = """
import sys
from pathlib import Path
from hala_hpc.engines.training.checkpoints import commit_checkpoint, prune_checkpoints
from hala_hpc.engines.training.checkpoints import staging_folder
state_dir = Path(sys.argv[1])
for step in (1, 2, 3):
    staged = staging_folder(state_dir, "a2") / f"checkpoint-{step}"
    staged.mkdir(parents=True)
    for name in ("weights", "state"):
        (staged / name).write_text(f"whole {step}")
    facts = {"step": step, "world_size": 1, "zero_stage": 2}
    commit_checkpoint(staged, state_dir / f"checkpoint-{step}", facts, lambda: None)
    prune_checkpoints(state_dir, 1)
"""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    "call",
    [
        "rename",
        "write",
        "fsync",
        "unlink,unlinkat,rmdir",
        "mkdir",
    ],
)
def test_a_kill_at_any_call_leaves_a_whole_checkpoint(tmp_path: Path, call: str) -> None:
    killed = 0
    for number in range(1, 60):
        state_dir = tmp_path / str(number)
        state_dir.mkdir()
        save(state_dir, 0)
        inject = f"inject={call}:signal=KILL:when={number}"
        done = subprocess.run(
            [
                *STRACE,
                f"trace={call}",
                "-e",
                inject,
                sys.executable,
                "-c",
                SAVE_THREE,
                str(state_dir),
            ],
            check=False,
            cwd=ROOT,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"},
            timeout=WAIT_S,
        )
        start, _ = find_newest_verified(state_dir)
        assert start is not None, f"{call} {number}"
        if done.returncode == 0:
            assert start.name == "checkpoint-3"
            break
        killed += 1
    assert killed > 2


@pytest.mark.parametrize(
    ("cost_s", "uptime_s", "interval_s"),
    [
        (34, 14_400, 989.5),  # sqrt(2 * 34 * 14400)
        (0.1, 3600, 60),
        (200, 864_000, 3600),
        (500, 3600, 5000),  # never more than a tenth of the time
    ],
)
def test_the_interval_is_youngs_within_bounds(
    cost_s: float, uptime_s: float, interval_s: float
) -> None:
    assert young_interval_s(cost_s, uptime_s) == pytest.approx(interval_s, rel=1e-3)


def test_the_interval_follows_the_measured_cost_unless_it_is_set() -> None:
    clock = SavingClock(TrainingSettings(mean_uptime_min=240), weight_bytes=2_400_000_000)
    assert clock.cost_s == pytest.approx(33.6)
    assert clock.figures()["save_s"] is None
    clock.record_saving(50)
    assert clock.interval_s == pytest.approx(1200)
    assert clock.figures() == {"savings": 1, "save_s": 50, "save_every_s": 1200}
    assert SavingClock(TrainingSettings(save_every_min=2), 1).interval_s == 120
    assert SavingClock(TrainingSettings(save_every_min=0), 1).interval_s is None


def test_the_end_of_a_job_comes_from_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert query_job_end() is None
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1700000000")
    assert query_job_end() == 1_700_000_000


@pytest.mark.long
@pytest.mark.slow
def test_what_cannot_be_converted_names_the_command(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 5)
    facts = json.loads((checkpoint / COMMIT_FILE).read_text())
    (checkpoint / COMMIT_FILE).write_text(json.dumps(facts | {"world_size": 4}))
    (checkpoint / "latest").write_text("global_step")
    with pytest.raises(UserError) as caught:
        convert_for_ranks(checkpoint, PlainContext(tmp_path, None))  # type: ignore[arg-type]
    text = str(caught.value)
    assert "cannot be converted for another number of ranks (" in text
    assert f"-m deepspeed.checkpoint.ds_to_universal --input_folder {checkpoint}" in text
    assert checkpoint.exists()
