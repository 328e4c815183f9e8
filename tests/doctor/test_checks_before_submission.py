"""A launch runs the doctor's checks before its first submission."""

from pathlib import Path

import pytest
from command_line import launch, one_row_recipe
from fake_slurm import FakeSlurm, on_path


def test_a_controller_that_goes_away_while_a_launch_begins_is_no_mistake_of_the_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FakeSlurm(on_path(tmp_path / "commands", monkeypatch))
    asked = cluster.folder / "asked"
    # It answers only the first query, whether anything can be submitted.
    cluster.add("scontrol", f'[ -e "{asked}" ] || echo "Slurmctld at here is UP"; touch "{asked}"')
    for name in ("sbatch", "srun", "squeue", "sinfo", "sacct", "sacctmgr"):
        cluster.add(name, "exit 1")
    work = tmp_path / "work"
    ended = launch("stage=all", one_row_recipe(tmp_path), f"work={work}", "launcher=slurm")
    assert ended.code == 69, ended
    assert not work.exists()
