"""Threads that do all steps of a part of a tensor while it is in a core's cache.

torch would divide every single step among its own threads, and each step waits for the slowest: on
cores with other load that takes many times as long.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

#: Numbers of a part: 1 MiB in float32, which fits into a core's cache.
CHUNK_NUMBERS = 2**18
#: Maximum number of threads, and parts of each whose results are in memory at once.
MAX_THREADS = 16
PARTS_OF_THREAD = 4

T = TypeVar("T")


class ChunkWorkers:
    """Threads for the parts of tensors, one for each core. Use as a context manager."""

    def __init__(self) -> None:
        self.threads = min(MAX_THREADS, len(os.sched_getaffinity(0)))
        self._pool = ThreadPoolExecutor(self.threads, initializer=compute_alone)

    def map(self, step: Callable[[list[Any]], T], tensors: Sequence[Any]) -> Iterator[T]:
        """Yield the result of a step for each part of flat torch tensors of one length, in order.

        The step gets a part of each tensor in float32; that of a float32 tensor is no copy.
        """
        begins = range(0, len(tensors[0]), CHUNK_NUMBERS)

        def work(begin: int) -> T:
            return step([tensor[begin : begin + CHUNK_NUMBERS].float() for tensor in tensors])

        left = iter(begins)
        while some := list(islice(left, PARTS_OF_THREAD * self.threads)):
            yield from self._pool.map(work, some)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def compute_alone() -> None:
    """Make torch use no other threads for calls of this thread."""
    import torch

    torch.set_num_threads(1)
