"""Begin a round of jobs: who makes which units, written down before anything is submitted."""

import time
from uuid import uuid4

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.claims import drop_claims
from hala_hpc.core.errors import Retry
from hala_hpc.core.records import Round, RoundSpec
from hala_hpc.jobs.round_end import progress_made


def begin_round(artifact: Artifact, units: int, workers: int, spec: RoundSpec) -> Round:
    """Share the missing units among workers and write the round down; return it.

    `spec` holds what the gate needs to submit again: launcher, resources, environment. Raises
    Retry where another process begins the same round.
    """
    missing = artifact.missing_units(units)
    workers = max(1, min(workers, len(missing)))
    begun = Round(
        round=artifact.last_round() + 1,
        key=uuid4().hex[:8],
        assignment=tuple(tuple(missing[first::workers]) for first in range(workers)),
        progress_before=tuple(progress_made(artifact)),
        began=time.time(),
        spec=spec,
    )
    if not artifact.write_round(begun):
        raise Retry(f"round {begun.round} of {artifact.folder.name} was begun by another")
    drop_claims(artifact)
    return begun
