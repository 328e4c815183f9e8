"""Whether jobs wait, run or are held, as SLURM shows them now."""

from collections.abc import Sequence

from hala_hpc.backends.slurm.backend import SlurmBackend

#: How sure a state of one element makes us of the state of its array.
SURENESS = ["held", "pending", "running"]


def states(ids: Sequence[str]) -> dict[str, str]:
    """`pending`, `running` or `held` for each array or job; those that are gone are absent."""
    found: dict[str, str] = {}
    for seen in SlurmBackend().look(ids):
        if SURENESS.index(seen.state) >= SURENESS.index(found.get(seen.id, "held")):
            found[seen.id] = seen.state
    return found
