"""Names and records of attempts: written ones are read back, however many there are."""

from pathlib import Path

import pytest

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.job_records import AttemptRecord
from hala_hpc.jobs.attempt_records import (
    AttemptName,
    RankAttempt,
    attempt_ends,
    attempt_names,
    iter_attempt_ends,
)
from hala_hpc.jobs.log_file import HEAD, format_log_head

pytestmark = pytest.mark.kinds


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (AttemptName(1, 3, "12_3", 0), "r0001-w00003-12_3-0"),
        (AttemptName(0, 0, "f00dbabe1234", 2), "r0000-w00000-f00dbabe1234-2"),
        (AttemptName(12345, 123456, "99_123456", 10), "r12345-w123456-99_123456-10"),
    ],
)
def test_a_name_is_read_as_it_was_written(name: AttemptName, text: str) -> None:
    assert str(name) == text
    assert AttemptName.parse(text) == name
    assert RankAttempt.parse(name.record_name(0)) == RankAttempt(name, 0)
    assert RankAttempt.parse(name.record_name(7)) == RankAttempt(name, 7)
    head = HEAD.fullmatch(format_log_head(text))
    assert head is not None
    assert head["attempt"].decode() == text


@pytest.mark.parametrize("text", ["", "r1-w1-12-0", "r0001-w00003-12", "failures-0001", "x"])
def test_what_is_no_name_is_none(text: str) -> None:
    assert AttemptName.parse(text) is None
    assert RankAttempt.parse(text) is None


def test_records_differ_from_other_files_and_damaged_ones_count_as_absent(
    tmp_path: Path,
) -> None:
    artifact = Artifact(tmp_path)
    first, wide = AttemptName(1, 0, "7_0", 0), AttemptName(10_000, 100_000, "8_100000", 1)
    for name, rank, began in ((wide, 0, 20.0), (first, 0, 10.0), (first, 3, 5.0)):
        record = AttemptRecord(worker=name.worker, rank=rank, code=70, began=began, seconds=1)
        record.write(artifact.attempt_file(name.record_name(rank)))
    lost = AttemptName(2, 0, "9_0", 0)
    artifact.error_file(str(lost), 0).write_text("{}")
    artifact.attempt_file(str(AttemptName(2, 1, "9_1", 0))).write_text('{"worker": 1, ')
    artifact.failures_file(1).write_text("{}")
    found = [(end.attempt, end.rank, end.ended) for end in attempt_ends(artifact)]
    assert found == [(first, 3, 6.0), (first, 0, 11.0), (wide, 0, 21.0)]
    assert [end.attempt for end in iter_attempt_ends(artifact, 10_000)] == [wide]
    assert {name.job_id for name in attempt_names(artifact)} == {"7", "8", "9"}
