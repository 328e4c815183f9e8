"""Whether jobs are pending, running or held, by squeue."""

from collections.abc import Sequence

from hala_hpc.backends.slurm.backend import SlurmBackend

#: States in increasing priority: the highest of an array's tasks is the state of the array.
SURENESS = ["held", "pending", "running"]


def states(ids: Sequence[str]) -> dict[str, str]:
    """`pending`, `running` or `held` for each array or job that squeue lists."""
    found: dict[str, str] = {}
    for row in SlurmBackend().query_queue(ids):
        if SURENESS.index(row.state) >= SURENESS.index(found.get(row.id, "held")):
            found[row.id] = row.state
    return found
