"""Asks the model each prompt once, however many rows need its answer."""

from collections import OrderedDict

from hala_hpc.engines.row_work import Answer, OpenRow

#: Answers kept for texts that come again, such as system prompts: tens of MB at most.
ANSWERS_KEPT = 20_000


class AskOnce:
    """Which prompts were answered, and which rows wait for those that were not."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Answer] = OrderedDict()
        self._asked: dict[str, int] = {}
        self._words: dict[int, str] = {}
        self._waiting: dict[int, list[tuple[OpenRow, int]]] = {}
        self._keys = 0

    def reuse(self, words: str, row: OpenRow, place: int) -> bool:
        """Answer a row's prompt from what is known, or let it wait for it; say if either did."""
        if words in self._kept:
            self._kept.move_to_end(words)
            row.answers[place] = self._kept[words]
        elif words in self._asked:
            self._waiting[self._asked[words]].append((row, place))
        else:
            return False
        return True

    def ask(self, words: str, row: OpenRow, place: int) -> int:
        """Note that a prompt goes to the model for this row; returns the key of its answer."""
        self._keys += 1
        self._asked[words] = self._keys
        self._words[self._keys] = words
        self._waiting[self._keys] = [(row, place)]
        return self._keys

    def words(self, key: int) -> str:
        """The prompt that a key stands for."""
        return self._words[key]

    def answer(self, key: int, answer: Answer) -> list[OpenRow]:
        """Give an answer to all rows that wait for it; the first is the one that asked."""
        words = self._words.pop(key)
        del self._asked[words]
        self._kept[words] = answer
        if len(self._kept) > ANSWERS_KEPT:
            self._kept.popitem(last=False)
        waiting = self._waiting.pop(key)
        for row, place in waiting:
            row.answers[place] = answer
        return [row for row, _ in waiting]
