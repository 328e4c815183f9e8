"""Query the active jobs of a run, and poll queue and accounting at a low rate.

Jobs are found by their working directory, not by the ids in `jobs.json` alone: a gate that is
killed while it submits has not recorded them.
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

#: First and longest pause between queries of the queue, in seconds. The pause doubles each time
#: that nothing has changed. Sites ask for a minute or more between two.
QUEUE_PAUSES_S = (5, 60)
#: Pause between accounting queries, in seconds: hours change slowly, and it queries a database.
ACCOUNTING_PAUSE_S = 300


@dataclass(frozen=True)
class ActiveJob:
    """An active job, or job array, of one node."""

    id: str
    node: str
    is_gate: bool
    running: int
    """Running array tasks, or 1."""
    waits: bool
    """Whether the job, or an array task of it, is pending."""

    def count(self) -> str:
        """Format the state: `3 running, others waiting`."""
        parts = [f"{self.running} running"] if self.running else []
        if self.waits:
            parts.append("others waiting" if self.running else "waiting")
        return ", ".join(parts)


def find_active_jobs(nodes: list[RunNode]) -> list[ActiveJob]:
    """Find all active jobs of some nodes with one query; none if nothing was submitted.

    Raises: TransientError if the scheduler does not answer.
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
    """Combine the queue rows of one job."""
    states = [row.state for row in rows]
    running = states.count("running")
    return ActiveJob(
        number, node.name, rows[0].name.startswith("gate-"), running, running < len(states)
    )


def was_submitted(artifact: Artifact) -> bool:
    """Whether a round of this node was submitted to a scheduler."""
    newest = artifact.newest_round_if_valid()
    if newest is None:
        # The record is damaged; the job ids show it.
        return bool(artifact.job_ids())
    return not newest.spec.is_local


class SchedulerPoller:
    """Polls queue and accounting, each at most once per update, and caches their answers."""

    def __init__(self) -> None:
        self.problem = ""
        """Why the last query of the queue failed; empty if it succeeded."""
        self.pause_s = QUEUE_PAUSES_S[0]
        self._queue: list[QueueRow] = []
        self._queue_answered_at = ""
        self._accounts: dict[NamedJob, JobUsage] | None = None
        self._asked_for: tuple[set[str], set[NamedJob]] = (set(), set())
        self._ask_queue_at = self._ask_accounts_at = 0.0

    def queue(self, ids: Sequence[str]) -> list[QueueRow]:
        """Queue rows of some jobs; the last known rows if the scheduler does not answer."""
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
                f", and the queue as of {self._queue_answered_at}"
                if self._queue_answered_at
                else ""
            )
            self.problem = f"the scheduler does not answer, so this is from the disk{old}: {error}"

    def accounts(self, jobs: Collection[NamedJob]) -> dict[NamedJob, JobUsage] | None:
        """Usage of jobs; None if accounting does not answer."""
        now, wanted = time.monotonic(), set(jobs)
        if now < self._ask_accounts_at and wanted == self._asked_for[1]:
            return self._accounts
        from hala_hpc.backends.slurm.backend import SlurmBackend

        self._accounts = SlurmBackend().query_usage(wanted)
        self._asked_for = (self._asked_for[0], wanted)
        self._ask_accounts_at = now + ACCOUNTING_PAUSE_S
        return self._accounts
