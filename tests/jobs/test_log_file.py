"""The log of a rank: the end of an attempt is found without reading what precedes it."""

from pathlib import Path

import pytest

from hala_hpc.jobs.attempt_records import AttemptName
from hala_hpc.jobs.log_file import (
    SEARCH_BYTES,
    LogPart,
    format_log_head,
    list_log_parts,
    parts_from_end,
    read_attempt_tail,
    read_tail,
)

pytestmark = pytest.mark.kinds

FIRST, SECOND, THIRD = (str(AttemptName(number, 0, "7_0", 0)) for number in (1, 2, 3))
#: Size of a log of months; a hole on disk.
HOLE_BYTES = 64 * 2**30


def test_each_attempt_has_its_own_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(
        format_log_head(FIRST)
        + b"one\ntwo\nbar 50%"
        + format_log_head(SECOND)
        + b"three\n"
        + format_log_head(THIRD)
    )
    assert read_attempt_tail(log, FIRST, 1) == ["bar 50%"]
    assert read_attempt_tail(log, FIRST, 9) == ["one", "two", "bar 50%"]
    assert read_attempt_tail(log, SECOND, 9) == ["three"]
    assert read_attempt_tail(log, THIRD, 9) == []
    assert read_attempt_tail(log, "r0009-w00000-7_0-0", 9) == []
    assert read_attempt_tail(tmp_path / "none", FIRST, 9) == []
    assert list(parts_from_end(log)) == list_log_parts(log)[::-1]


def test_a_damaged_log_without_a_head_has_no_parts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(bytes(300))
    assert list_log_parts(log) == list(parts_from_end(log)) == []


def test_a_header_across_two_blocks_is_found(tmp_path: Path) -> None:
    log, head = tmp_path / "log", format_log_head(SECOND)
    for before in (1, len(head) // 2, len(head) - 1):
        behind = b"x" * (SEARCH_BYTES - before - 2) + b"y\n"
        log.write_bytes(format_log_head(FIRST) + b"one\n" + head + behind)
        assert read_attempt_tail(log, SECOND, 1)[0][-2:] == "xy"
        assert read_attempt_tail(log, FIRST, 1) == ["one"]


def test_a_line_without_end_is_not_read_to_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(HOLE_BYTES)
    assert len(read_tail(log, LogPart(FIRST, "", 0, HOLE_BYTES), 2)) == 1
