"""Claims of units: an attempt taken for dead claims none, and its claims block no worker."""

from pathlib import Path

import pytest

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.claims import Claims
from hala_hpc.core.errors import LeaseLost
from hala_hpc.core.job_records import Claim

UNITS = ((0, 1), (2, 3))


def holds() -> None:
    """The lease is ours."""


def lost() -> None:
    raise LeaseLost("a newer attempt has begun")


def test_an_attempt_without_its_lease_takes_no_unit(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path / "node-0123456789ab")
    with pytest.raises(LeaseLost):
        next(iter(Claims(artifact, 0, UNITS, lost)))
    assert artifact.claimed_units() == set()


def test_a_unit_that_a_lost_attempt_took_is_made_by_its_successor(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path / "node-0123456789ab")
    made: list[int] = []
    for unit in Claims(artifact, 0, UNITS, holds):
        if not made:
            # The lost attempt of the same worker wakes up for a moment.
            Claim(worker=0).claim(artifact.claim_file(3))
        made.append(unit)
    assert sorted(made) == [0, 1, 2, 3]


def test_workers_that_take_from_each_other_by_turns_make_every_unit_once(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path / "node-0123456789ab")
    shares = (tuple(range(60)), tuple(range(60, 64)), ())
    workers = [iter(Claims(artifact, number, shares, holds)) for number in range(3)]
    made: list[int] = []
    while workers:
        for worker in list(workers):
            unit = next(worker, None)
            if unit is None:
                workers.remove(worker)
            else:
                made.append(unit)
    assert sorted(made) == list(range(64))
