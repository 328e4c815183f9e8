"""An attempt publishes nothing once another has replaced it."""

from pathlib import Path

import pytest

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import LeaseLost
from hala_hpc.core.job_records import WorkerLease
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.records import RoundSpec
from hala_hpc.core.resources import Resources
from hala_hpc.core.stage import UnknownInputs
from hala_hpc.jobs.job_context import JobContext
from hala_hpc.jobs.rounds import begin_round
from hala_hpc.stages.prepare import STAGE

SPEC = RoundSpec(
    launcher=Launcher(name="test", backend="local"),
    env="main",
    commit="",
    settings={},
    resources=Resources(),
)


@pytest.mark.parametrize(
    ("all_counts", "is_loaded"),
    [
        ([{"rows": 0, "tokens": 0}], False),
        # Rows that an earlier attempt has done.
        ([{"rows": 40, "tokens": 0}, {"rows": 40, "tokens": 0}], False),
        ([{"rows": 40, "tokens": 0}, {"rows": 41, "tokens": 0}], True),
        ([{"rows": 40, "tokens": 9}], True),
        ([{"step": 100, "steps_total": 200}], False),
        ([{"step": 100, "steps_total": 200}, {"step": 101}], True),
    ],
)
def test_loading_has_ended_once_a_count_of_this_attempt_grows(
    all_counts: list[dict[str, float]], is_loaded: bool, tmp_path: Path
) -> None:
    artifact = Artifact(tmp_path / "node-0123456789ab")
    begin_round(artifact, 1, 1, SPEC)
    stage = STAGE(STAGE.Settings(data=[str(tmp_path)], units=1), UnknownInputs())
    out = JobContext(artifact, stage, 0, "r0001-w00000-7-0")
    for counts in all_counts:
        out.report_progress(**counts)
    out.write_progress()
    progress = artifact.rank_progress(0)
    assert progress is not None
    assert (progress.loaded_s is not None) == is_loaded


def test_a_worker_that_the_next_round_does_not_have_publishes_nothing(tmp_path: Path) -> None:
    """Three workers; the third is suspended; the next round has one, so none takes its lease."""
    artifact = Artifact(tmp_path / "node-0123456789ab")
    begin_round(artifact, 3, 3, SPEC)
    WorkerLease(attempt="r0001-w00002-7-0", round=1).write(artifact.lease_file(2))
    stage = STAGE(STAGE.Settings(data=[str(tmp_path)], units=3), UnknownInputs())
    out = JobContext(artifact, stage, 2, "r0001-w00002-7-0")
    out.check_lease()
    begin_round(artifact, 3, 1, SPEC)
    (out.folder(2) / "part-00002.parquet").write_bytes(b"rows")
    with pytest.raises(LeaseLost):
        out.commit(2)
    assert artifact.done_units() == []
    assert not artifact.unit_folder(2).exists()
