"""Whether jobs wait, run or are held, as SLURM shows them now."""

from collections.abc import Sequence

from hala_hpc.backends.slurm.backend import SlurmBackend

#: How sure a state of one element makes us of the state of its array.
SURENESS = ["held", "pending", "running"]


def states(ids: Sequence[str]) -> dict[str, str]:
    """`pending`, `running` or `held` for each array or job; those that are gone are absent."""
    found: dict[str, str] = {}
    for row in SlurmBackend().query_queue(ids):
        if SURENESS.index(row.state) >= SURENESS.index(found.get(row.id, "held")):
            found[row.id] = row.state
    return found
