"""What squeue shows of the jobs of a run."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: A controller that is away says so after 10 s.
ANSWER_LIMIT_S = 60
FIELDS = "%i|%F|%A|%T|%j|%N|%S|%Z"
#: States in which a job waits.
WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")
#: Node, fingerprint and key of the round in the name of a job.
NAME = re.compile(r"^(?P<gate>gate-)?(?P<node>[a-z]+)-[0-9a-f]{12}-[0-9a-f]{8}$")


@dataclass(frozen=True)
class QueuedJob:
    """A job, or one element of an array."""

    element: str
    """Its own id, e.g. `12_3`."""
    id: str
    """Of the job, or of the array."""
    number: str
    """Of this element alone, as its processes have it in SLURM_JOB_ID."""
    state: str
    name: str
    host: str
    start: str
    """When it began, or is expected to: another one after a requeue."""
    folder: str

    @property
    def node(self) -> str:
        """Name of the node of the recipe; empty for a job that is none of ours."""
        found = NAME.match(self.name)
        return found["node"] if found else ""

    @property
    def is_gate(self) -> bool:
        """Whether it is the gate of its node."""
        return self.name.startswith("gate-")

    @property
    def waits(self) -> bool:
        """Whether it has not begun, or has to begin again."""
        return self.state in WAITING


def query_queue(work: Path) -> list[QueuedJob] | None:
    """The jobs of a work folder in the queue; None where the controller does not answer."""
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
