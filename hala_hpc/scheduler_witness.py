"""What the scheduler tells those who watch: asked once for all nodes, and no more than needed."""

import sys
import time
from collections.abc import Collection, Sequence

from hala_hpc.backends.slurm_queue import Seen
from hala_hpc.backends.slurm_usage import Used
from hala_hpc.core.errors import Retry

#: Pauses between two questions about the queue, in seconds: the first, then twice as long each time
#: that nothing has changed, up to the last. Sites ask for a minute or more between two.
QUEUE_PAUSES_S = (5, 60)
#: Between two questions to accounting, in seconds: hours change slowly, and it asks a data base.
ACCOUNTING_PAUSE_S = 300


class SchedulerWitness:
    """Asks queue and accounting, each at most once per look, and remembers what they said."""

    def __init__(self) -> None:
        self.pause_s = QUEUE_PAUSES_S[0]
        self._queue: list[Seen] = []
        self._accounts: dict[str, Used] | None = None
        self._asked_for: tuple[set[str], set[str]] = (set(), set())
        self._ask_queue_at = self._ask_accounts_at = 0.0

    def queue(self, ids: Sequence[str]) -> list[Seen]:
        """The rows of some jobs in the queue. Without an answer, none, which is told."""
        now, wanted = time.monotonic(), set(ids)
        if now < self._ask_queue_at and wanted == self._asked_for[0]:
            return self._queue
        from hala_hpc.backends.slurm import SlurmBackend

        try:
            found = SlurmBackend().look(ids) if ids else []
        except Retry as error:
            print(
                f"the scheduler does not answer, so this is what the disk tells: {error}",
                file=sys.stderr,
            )
            found = []
        is_same = bool(ids) and found == self._queue and wanted == self._asked_for[0]
        self.pause_s = min(2 * self.pause_s, QUEUE_PAUSES_S[1]) if is_same else QUEUE_PAUSES_S[0]
        self._queue, self._ask_queue_at = found, now + self.pause_s
        self._asked_for = (wanted, self._asked_for[1])
        return found

    def accounts(self, ids: Collection[str]) -> dict[str, Used] | None:
        """What jobs have used, by their ids; None when accounting does not answer."""
        now, wanted = time.monotonic(), set(ids)
        if now < self._ask_accounts_at and wanted == self._asked_for[1]:
            return self._accounts
        from hala_hpc.backends.slurm import SlurmBackend

        self._accounts = SlurmBackend().used(wanted)
        self._asked_for = (self._asked_for[0], wanted)
        self._ask_accounts_at = now + ACCOUNTING_PAUSE_S
        return self._accounts
