"""Launches that meet, and launches that are killed: every job is submitted once."""

import shutil
from pathlib import Path
from random import Random

import pytest

from benchmarks.launches import Site, Tally, calls_of, chosen_calls, try_kill, try_pair

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("minislurm"),
]


def test_two_launches_of_one_command_submit_every_job_once(tmp_path: Path) -> None:
    tally = Tally()
    site = Site(tmp_path)
    for _ in range(2):
        try_pair(site, tally)
    assert tally.good, tally


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not here")
def test_a_launch_killed_at_any_system_call_loses_and_doubles_nothing(tmp_path: Path) -> None:
    tally = Tally()
    site = Site(tmp_path)
    for call in chosen_calls(calls_of(site), 5, Random(3)):
        try_kill(site, call, tally)
    assert tally.kills == 5
    assert tally.good, tally
