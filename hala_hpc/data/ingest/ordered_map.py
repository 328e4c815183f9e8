"""Work on several processors, with the results in the order of the work."""

import gc
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from os import sched_getaffinity
from typing import Any, TypeVar

from hala_hpc.core.errors import TransientError

#: Each takes about 200 MB.
MAX_PROCESSES = 4

A = TypeVar("A")
B = TypeVar("B")


def count_processors(wanted: int) -> int:
    """Processors to use: those asked for and allowed, and no more than memory is bounded for."""
    return max(1, min(wanted, len(sched_getaffinity(0)), MAX_PROCESSES))


def map_in_order(work: Callable[[A], B], items: Iterator[A], processes: int) -> Iterator[B]:
    """The results of all items; a single one is worked on here, and processes start for more.

    Few items are ahead of the reader at any time. Raises Retry when a process is killed.
    """
    head = list(islice(items, 2))
    items = chain(head, items)
    if processes == 1 or len(head) == 1:
        yield from map(work, items)
        return
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # Not forked: this process has threads.
    pool = ProcessPoolExecutor(
        processes,
        mp_context=get_context("spawn"),
        # As here: looks for garbage cost time where many objects stay.
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
            "a process that read the data was killed, perhaps for its memory"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
