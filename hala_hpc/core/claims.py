"""Which worker runs which unit: its own first, then those that slower workers have not begun.

A claim is a file created with `link`, so that one worker wins. It is removed once the unit has its
marker. Claims are valid for one round of jobs.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.job_records import Claim


class Claims:
    """The units of one worker, each claimed when it is requested."""

    def __init__(
        self,
        artifact: Artifact,
        worker: int,
        assignment: Sequence[Sequence[int]],
        check_lease: Callable[[], None],
    ) -> None:
        self.artifact, self.worker, self.assignment = artifact, worker, assignment
        self.check_lease = check_lease
        self.taken: list[int] = []
        self._free_units: list[list[int]] = []
        """Units of each worker that nobody had begun at the last refresh."""
        self._until_refresh = 0
        """Units that may be picked before the next refresh."""

    def __iter__(self) -> Iterator[int]:
        """Own units in their order, then from the end of the longest list of another worker.

        What this worker had begun before it was interrupted comes first.
        """
        # A unit that was begun is in both lists.
        for unit in dict.fromkeys([*self._interrupted(), *self.assignment[self.worker]]):
            if self._take(unit):
                yield unit
        while (other := self._next_unit()) is not None:
            if self._take(other):
                yield other

    def _interrupted(self) -> list[int]:
        """Units that an earlier attempt of this worker claimed and did not finish."""
        claimed = sorted(self.artifact.claimed_units())
        return [unit for unit in claimed if self._owner(unit) == self.worker]

    def _next_unit(self) -> int | None:
        """A unit of another worker that nobody has begun; last, a unit claimed by this worker.

        An attempt of this worker that was taken for dead may have claimed a unit meanwhile.
        """
        other = self._unit_of_other_worker()
        if other is not None:
            return other
        own = [unit for unit in self._interrupted() if unit not in self.taken]
        return own[0] if own else None

    def _owner(self, unit: int) -> int | None:
        claim = self.artifact.claim(unit)
        return claim.worker if claim else None

    def _take(self, unit: int) -> bool:
        """Claim a unit unless it is done or another worker has claimed it.

        Raises: LeaseLost if this attempt was taken for dead, and so owns no unit any more.
        """
        self.check_lease()
        path = self.artifact.claim_file(unit)
        if self.artifact.marker(unit) is not None:
            return False
        mine = Claim(worker=self.worker).claim(path)
        if not mine and self._owner(unit) != self.worker:
            return False
        # Its marker may have been written, and its claim removed, since the check above.
        if self.artifact.marker(unit) is not None:
            path.unlink(missing_ok=True)
            return False
        self.taken.append(unit)
        return True

    def _unit_of_other_worker(self) -> int | None:
        """The last unit that nobody has begun, of the worker with most such units.

        All units are checked again after a quarter of the remaining ones, and near the end each
        time. To check 10,000 units for each of them would take longer than their work. Between two
        checks, other workers may pick the same unit; only one of them gets the claim.
        """
        if not self._until_refresh:
            unavailable = self.artifact.claimed_units() | set(self.artifact.done_units())
            self._free_units = [
                [unit for unit in units if unit not in unavailable] for units in self.assignment
            ]
            self._until_refresh = max(1, sum(map(len, self._free_units)) // 4)
        self._until_refresh -= 1
        longest = max(self._free_units, key=len)
        return longest.pop() if longest else None


def remove_claims(artifact: Artifact) -> None:
    """Remove all claims; only between two rounds, when no worker runs."""
    shutil.rmtree(artifact.claim_file(0).parent, ignore_errors=True)
