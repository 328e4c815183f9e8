"""Counts the items of benchmarks as their requests are answered, and watches that they are."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hala_hpc.engines.generation.batch import AnswerCount


class ItemProgress:
    """The progress of one shard: an item is a row, which is done with its last answer."""

    def __init__(self, count: AnswerCount, beat: Callable[[int], None] = lambda _: None) -> None:
        self.count, self.beat = count, beat
        self._rows_before = count.rows
        self._items: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self._open: Counter[tuple[str, int]] = Counter()
        self._is_scoring = False

    def begin(self, keys: Sequence[str], requests: Sequence[Any]) -> None:
        """Add requests of lm-eval, and their keys in the journal."""
        for key, request in zip(keys, requests, strict=True):
            item = (str(request.task_name), int(request.doc_id))
            self._items[key].append(item)
            self._open[item] += 1

    def add(self, key: str) -> None:
        """Count an answer: one of now, or of an earlier attempt."""
        if self._is_scoring:
            self.beat(1)
        for item in self._items.pop(key, ()):
            self._open[item] -= 1
            if not self._open[item]:
                self.count.rows += 1
        self.count.report()

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Watch a computation in which answers have to follow each other.

        An engine that generates answers has a watch of its own.
        """
        self._is_scoring = True
        self.beat(1)
        try:
            yield
        finally:
            self._is_scoring = False
            self.beat(0)

    def finish(self, items: int) -> None:
        """The shard is done, with so many items; those that are not scored count, too."""
        self.count.rows = self._rows_before + items
        self.count.report()
