"""Begin a round of jobs: who makes which units, written down before anything is submitted."""

import time
from typing import Any
from uuid import uuid4

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.claims import drop_claims
from hala_hpc.round_end import progress_made


def begin_round(artifact: Artifact, units: int, workers: int, spec: dict[str, Any]) -> int:
    """Share the missing units among workers and write the round down; return its number.

    `spec` holds what the gate needs to submit again: launcher, resources, environment.
    """
    drop_claims(artifact)
    missing = artifact.missing_units(units)
    workers = max(1, min(workers, len(missing)))
    number = artifact.last_round() + 1
    artifact.write_round(
        number,
        {
            "round": number,
            "key": uuid4().hex[:8],
            "assignment": [missing[first::workers] for first in range(workers)],
            "progress_before": progress_made(artifact),
            "began": time.time(),
            "spec": spec,
        },
    )
    return number
