"""Map a function over items in several processes; the results keep the order of the items."""

import gc
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from os import sched_getaffinity
from typing import Any, TypeVar

from hala_hpc.core.errors import TransientError

#: Each process takes about 200 MB.
MAX_PROCESSES = 4

A = TypeVar("A")
B = TypeVar("B")


def count_processors(wanted: int) -> int:
    """Return the number of processes: as requested, within the CPU affinity and MAX_PROCESSES."""
    return max(1, min(wanted, len(sched_getaffinity(0)), MAX_PROCESSES))


def map_in_order(work: Callable[[A], B], items: Iterator[A], processes: int) -> Iterator[B]:
    """Yield the results of all items; processes start only if there is more than one item.

    Few items are read ahead of the consumer at any time.

    Raises: TransientError if a process is killed.
    """
    head = list(islice(items, 2))
    items = chain(head, items)
    if processes == 1 or len(head) == 1:
        yield from map(work, items)
        return
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # Spawn instead of fork: this process has threads.
    pool = ProcessPoolExecutor(
        processes,
        mp_context=get_context("spawn"),
        # Same threshold as here: collections cost time while many objects are alive.
        initializer=gc.set_threshold,
        initargs=gc.get_threshold(),
    )
    waiting: deque[Any] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > processes + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise TransientError(
            "a process that read the data was killed, possibly by the OOM killer"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
