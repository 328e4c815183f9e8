"""Benchmarks that need enough of something come to an end where nothing new comes."""

import pytest

from benchmarks.common.rounds import IDLE_ROUNDS, repeat_until


def test_rounds_end_when_there_is_enough_though_some_bring_nothing() -> None:
    brought = [1, 0, 0, 2, 0, 0, 1]
    found: list[int] = []
    repeat_until(4, lambda: sum(found), lambda: found.append(brought[len(found)]), "things")
    assert found == brought


def test_rounds_that_bring_nothing_new_end_and_name_what_is_missing() -> None:
    rounds: list[int] = []
    with pytest.raises(RuntimeError, match="without a new result: 2 of 4 kills"):
        repeat_until(4, lambda: min(len(rounds), 2), lambda: rounds.append(1), "kills")
    assert len(rounds) == 2 + IDLE_ROUNDS
