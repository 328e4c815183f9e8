"""Answers that rows need again and again are passed on between the workers of a node.

Each worker writes one file of its own and reads those of the others, so nothing is locked.
"""

from itertools import islice
from pathlib import Path

from pydantic import ConfigDict

from hala_hpc.core.record import Record
from hala_hpc.engines.generation.answer_cache import Answers

#: Answers that a worker passes on at most: a few MB for everybody to read.
PASSED_ON = 2000


class GivenAnswers(Record):
    """`shared/00003.json`: answers that a worker passes on, by what was asked."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str]


def read_answers(path: Path) -> dict[str, str]:
    """The answers of a file; none if it is absent or damaged, as they only save work."""
    given = GivenAnswers.read_if_sound(path)
    return dict(given.__pydantic_extra__) if given else {}


class SharedAnswers:
    """The folder where the workers of a node leave their frequent answers."""

    def __init__(self, folder: Path, worker: int, answers: Answers) -> None:
        self.folder, self.answers = folder, answers
        self.own = folder / f"{worker:05d}.json"
        self._given = read_answers(self.own)
        self._seen: dict[str, tuple[int, int]] = {}
        self.exchange()

    def exchange(self) -> None:
        """Take what others left since the last time, and leave what is frequent here."""
        for path in sorted(self.folder.glob("[0-9]*.json")):
            facts = path.stat()
            state = (facts.st_mtime_ns, facts.st_size)
            if self._seen.get(path.name) != state:
                self._seen[path.name] = state
                self.answers.put_all(read_answers(path))
        room = max(PASSED_ON - len(self._given), 0)
        found = dict(islice(self.answers.newly_frequent().items(), room))
        if found:
            self._given.update(found)
            GivenAnswers.model_validate(self._given).write(self.own)
