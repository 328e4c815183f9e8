"""The stage `sft` with passes of a fixed number of rows, for comparison with passes by tokens.

Consecutive rows of a step share a pass, and the passes are dealt to the ranks in turn, as trainers
do that count rows. Everything else is the same, also the order of the rows. A recipe names this
file.
"""

from collections.abc import Iterable, Sequence

from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.training.passes import StepCut
from hala_hpc.stages.sft import Sft

#: Rows of a pass.
ROWS_AT_ONCE = 4


class RowBatches(Sft):
    """`sft` with passes of `ROWS_AT_ONCE` rows."""

    name = "sft-rows"

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Train on all ranks."""
        from hala_hpc.engines.training import feed

        feed.plan_passes = rows_in_turn  # type: ignore[attr-defined]
        super().run(units, out)


def rows_in_turn(lengths: Sequence[int], cut: StepCut) -> list[list[list[int]]]:
    """Return the passes of each rank. Rows come longest first, as in `GlobalBatchOrder`."""
    places = range(len(lengths))
    passes = [list(places[first : first + ROWS_AT_ONCE]) for first in places[::ROWS_AT_ONCE]]
    assert len(passes) % cut.ranks == 0, (len(lengths), cut)
    return [passes[rank :: cut.ranks] for rank in range(cut.ranks)]


STAGE = RowBatches
