"""What the scheduler tells of the jobs of a run: those that still have something before them, and,
for those who watch, queue and accounting, asked no more than needed.

Jobs are found by the folder that they work in, not by the ids in `jobs.json` alone: a gate that is
ended while it submits has not written them.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hala_hpc.backends.slurm.client import QueueRow
from hala_hpc.backends.slurm.sacct import JobUsage, NamedJob
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import TransientError
from hala_hpc.core.run import RunNode
from hala_hpc.jobs.spec import is_job_of, is_of_newest_jobs, resolve_folder

#: Pauses between two questions about the queue, in seconds: the first, then twice as long each time
#: that nothing has changed, up to the last. Sites ask for a minute or more between two.
QUEUE_PAUSES_S = (5, 60)
#: Between two questions to accounting, in seconds: hours change slowly, and it asks a data base.
ACCOUNTING_PAUSE_S = 300


@dataclass(frozen=True)
class ActiveJob:
    """A job, or an array of them, of one node."""

    id: str
    node: str
    is_gate: bool
    running: int
    """Elements of the array that run, or 1."""
    waits: bool
    """Whether the job, or some element of it, waits."""

    def count(self) -> str:
        """`3 running, others waiting`."""
        parts = [f"{self.running} running"] if self.running else []
        if self.waits:
            parts.append("others waiting" if self.running else "waiting")
        return ", ".join(parts)


def find_active_jobs(nodes: list[RunNode]) -> list[ActiveJob]:
    """Every living job of some nodes; one question to the scheduler, none without jobs.

    Raises Retry when it does not answer.
    """
    if not any(was_submitted(node.artifact) for node in nodes):
        return []
    from hala_hpc.backends.slurm.backend import SlurmBackend

    rows: dict[str, list[QueueRow]] = {}
    for row in SlurmBackend().query_queue():
        rows.setdefault(row.id, []).append(row)
    homes = {str(node.artifact.logs.resolve()): node for node in nodes}
    ids = {number: node for node in nodes for number in node.artifact.job_ids()}
    found = []
    for number, job in rows.items():
        name, folder, node = job[0].name, job[0].folder, ids.get(number)
        home = homes.get(resolve_folder(folder))
        if home is not None and is_job_of(home.artifact, name, folder):
            found.append(make_active_job(number, home, job))
        elif node is not None and is_of_newest_jobs(node.artifact, name, folder):
            found.append(make_active_job(number, node, job))
    return found


def make_active_job(number: str, node: RunNode, rows: list[QueueRow]) -> ActiveJob:
    """One job by all its rows."""
    states = [row.state for row in rows]
    running = states.count("running")
    return ActiveJob(
        number, node.name, rows[0].name.startswith("gate-"), running, running < len(states)
    )


def was_submitted(artifact: Artifact) -> bool:
    """Whether a round of this node was meant for a scheduler."""
    newest = artifact.newest_round_if_valid()
    if newest is None:
        # Of a damaged round only its jobs tell.
        return bool(artifact.job_ids())
    return not newest.spec.is_local


class SchedulerPoller:
    """Asks queue and accounting, each at most once per look, and remembers what they said."""

    def __init__(self) -> None:
        self.problem = ""
        """Why the last question about the queue had no answer; empty when it had one."""
        self.pause_s = QUEUE_PAUSES_S[0]
        self._queue: list[QueueRow] = []
        self._queue_answered_at = ""
        self._accounts: dict[NamedJob, JobUsage] | None = None
        self._asked_for: tuple[set[str], set[NamedJob]] = (set(), set())
        self._ask_queue_at = self._ask_accounts_at = 0.0

    def queue(self, ids: Sequence[str]) -> list[QueueRow]:
        """The rows of some jobs in the queue; those of the last answer where there is none now."""
        now, wanted = time.monotonic(), set(ids)
        if now < self._ask_queue_at and wanted == self._asked_for[0]:
            return self._queue
        before = self._queue
        self._ask_queue(ids)
        is_same = bool(ids) and self._queue == before and wanted == self._asked_for[0]
        self.pause_s = min(2 * self.pause_s, QUEUE_PAUSES_S[1]) if is_same else QUEUE_PAUSES_S[0]
        self._ask_queue_at = now + self.pause_s
        self._asked_for = (wanted, self._asked_for[1])
        return self._queue

    def _ask_queue(self, ids: Sequence[str]) -> None:
        from hala_hpc.backends.slurm.backend import SlurmBackend

        try:
            self._queue = SlurmBackend().query_queue(ids) if ids else []
            self._queue_answered_at, self.problem = time.strftime("%T"), ""
        except TransientError as error:
            old = (
                f", and what it said at {self._queue_answered_at}"
                if self._queue_answered_at
                else ""
            )
            self.problem = (
                f"the scheduler does not answer, so this is what the disk tells{old}: {error}"
            )

    def accounts(self, jobs: Collection[NamedJob]) -> dict[NamedJob, JobUsage] | None:
        """What jobs have used; None when accounting does not answer."""
        now, wanted = time.monotonic(), set(jobs)
        if now < self._ask_accounts_at and wanted == self._asked_for[1]:
            return self._accounts
        from hala_hpc.backends.slurm.backend import SlurmBackend

        self._accounts = SlurmBackend().query_usage(wanted)
        self._asked_for = (self._asked_for[0], wanted)
        self._ask_accounts_at = now + ACCOUNTING_PAUSE_S
        return self._accounts
