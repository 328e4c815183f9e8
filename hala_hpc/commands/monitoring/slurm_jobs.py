"""What the scheduler tells those who watch: asked once for all nodes, and no more than needed."""

import time
from collections.abc import Collection, Sequence

from hala_hpc.backends.slurm.client import Seen
from hala_hpc.backends.slurm.usage import Used
from hala_hpc.core.errors import Retry

#: Pauses between two questions about the queue, in seconds: the first, then twice as long each time
#: that nothing has changed, up to the last. Sites ask for a minute or more between two.
QUEUE_PAUSES_S = (5, 60)
#: Between two questions to accounting, in seconds: hours change slowly, and it asks a data base.
ACCOUNTING_PAUSE_S = 300


class SchedulerWitness:
    """Asks queue and accounting, each at most once per look, and remembers what they said."""

    def __init__(self) -> None:
        self.problem = ""
        """Why the last question about the queue had no answer; empty when it had one."""
        self.pause_s = QUEUE_PAUSES_S[0]
        self._queue: list[Seen] = []
        self._queue_told = ""
        self._accounts: dict[str, Used] | None = None
        self._asked_for: tuple[set[str], set[str]] = (set(), set())
        self._ask_queue_at = self._ask_accounts_at = 0.0

    def queue(self, ids: Sequence[str]) -> list[Seen]:
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
            self._queue = SlurmBackend().look(ids) if ids else []
            self._queue_told, self.problem = time.strftime("%T"), ""
        except Retry as error:
            old = f", and what it said at {self._queue_told}" if self._queue_told else ""
            self.problem = (
                f"the scheduler does not answer, so this is what the disk tells{old}: {error}"
            )

    def accounts(self, ids: Collection[str]) -> dict[str, Used] | None:
        """What jobs have used, by their ids; None when accounting does not answer."""
        now, wanted = time.monotonic(), set(ids)
        if now < self._ask_accounts_at and wanted == self._asked_for[1]:
            return self._accounts
        from hala_hpc.backends.slurm.backend import SlurmBackend

        self._accounts = SlurmBackend().used(wanted)
        self._asked_for = (self._asked_for[0], wanted)
        self._ask_accounts_at = now + ACCOUNTING_PAUSE_S
        return self._accounts
