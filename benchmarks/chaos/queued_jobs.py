"""Query squeue for the jobs of a run."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: squeue reports after 10 s that the controller does not respond.
ANSWER_LIMIT_S = 60
FIELDS = "%i|%F|%A|%T|%j|%N|%S|%Z"
#: States of a pending job.
WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")
#: Node, fingerprint and round key in the name of a job.
NAME = re.compile(r"^(?P<gate>gate-)?(?P<node>[a-z]+)-[0-9a-f]{12}-[0-9a-f]{8}$")


@dataclass(frozen=True)
class QueuedJob:
    """A job, or one task of an array."""

    element: str
    """Its own id, e.g. `12_3`."""
    id: str
    """Id of the job, or of the array."""
    number: str
    """Id of this task alone, as in SLURM_JOB_ID of its processes."""
    state: str
    name: str
    host: str
    start: str
    """Actual or expected start time; a requeue changes it."""
    folder: str

    @property
    def node(self) -> str:
        """Name of the recipe node; empty for a job of another origin."""
        found = NAME.match(self.name)
        return found["node"] if found else ""

    @property
    def is_gate(self) -> bool:
        """Whether it is the gate of its node."""
        return self.name.startswith("gate-")

    @property
    def waits(self) -> bool:
        """Whether it is pending, for the first time or after a requeue."""
        return self.state in WAITING


def query_queue(work: Path) -> list[QueuedJob] | None:
    """Return the jobs of a work folder in the queue; None if the controller does not respond."""
    argv = ["squeue", "--noheader", "--array", f"--format={FIELDS}"]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=ANSWER_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        return None
    rows = [row.split("|", 7) for row in done.stdout.splitlines() if row.count("|") >= 7]
    jobs = [QueuedJob(*(field.strip() for field in row)) for row in rows]
    return [job for job in jobs if job.folder.startswith(f"{work}/")]
