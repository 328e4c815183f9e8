"""Every question goes to the model once, however many rows need its answer.

Answers that rows need again and again are passed on between the workers of a node: each writes one
file of its own and reads those of the others, so nothing is locked.
"""

import json
import sqlite3
from collections import Counter
from dataclasses import asdict
from functools import cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from pydantic import ConfigDict

from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.generation.row_program import Answer, Prompt, Sampling

#: Reuses of an answer in one worker from which on others may need it, too.
FREQUENT = 3
#: Questions whose reuses are counted: tens of MB at most.
MAX_COUNTED = 50_000
#: Answers that a worker passes on at most: a few MB for everybody to read.
MAX_SHARED_ANSWERS = 2000


def compute_answer_key(prompt: Prompt) -> bytes:
    """16 bytes that stand for the words of a question and the way its answer is drawn."""
    return blake2b(
        f"{encode_sampling(prompt.sampling)}\0{prompt.text}".encode(), digest_size=16
    ).digest()


@cache
def encode_sampling(sampling: Sampling) -> str:
    """The way an answer is drawn, as text; there are few ways, and many questions."""
    return json.dumps(asdict(sampling), sort_keys=True)


class AnswerCache:
    """All answers of one worker, on the disk of its node: memory does not grow with them.

    SQLite's temporary database: without a name, in the node's temporary folder, gone with this
    process however that ends.
    """

    def __init__(self) -> None:
        self._table = sqlite3.connect("", isolation_level=None)
        for line in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            "CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT) WITHOUT ROWID",
        ):
            self._table.execute(line)
        self._reuses: Counter[bytes] = Counter()
        self._frequent: list[bytes] = []

    def get(self, key: bytes) -> Answer | None:
        """The answer to a question that was asked before; None if there is no sound one."""
        found = self._table.execute("SELECT answer FROM answers WHERE key=?", (key,)).fetchone()
        if found is None:
            return None
        self.count(key)
        return decode_answer(found[0])

    def count(self, key: bytes) -> None:
        """Count that a question came again."""
        if len(self._reuses) < MAX_COUNTED or key in self._reuses:
            self._reuses[key] += 1
            if self._reuses[key] == FREQUENT:
                self._frequent.append(key)

    def put(self, key: bytes, answer: Answer) -> None:
        """Keep an answer, unless there is one."""
        self._table.execute(
            "INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, encode_answer(answer))
        )

    def newly_frequent(self) -> dict[str, str]:
        """Answers that were needed again and again, each told once: text by key in hexadecimal."""
        found, waiting = {}, []
        for key in self._frequent:
            row = self._table.execute("SELECT answer FROM answers WHERE key=?", (key,)).fetchone()
            if row is None:
                waiting.append(key)
            else:
                found[key.hex()] = row[0]
        self._frequent = waiting
        return found

    def put_all(self, found: dict[str, str]) -> None:
        """Take over answers of another worker."""
        rows = ((bytes.fromhex(key), text) for key, text in found.items())
        self._table.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)

    def close(self) -> None:
        """Forget them all."""
        self._table.close()


def encode_answer(answer: Answer) -> str:
    """An answer as text."""
    return json.dumps([answer.text, answer.reason, *answer.label_probabilities], ensure_ascii=False)


def decode_answer(text: str) -> Answer | None:
    """The answer in a text; None if it holds none, as another worker may have written it."""
    try:
        match json.loads(text):
            case [str(response), str(reason), *probabilities]:
                return Answer(response, reason, tuple(map(float, probabilities)))
    except (ValueError, TypeError):
        pass
    return None


class SharedAnswerFile(JsonRecord):
    """`shared/00003.json`: answers that a worker passes on, by what was asked."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str]


def read_answers(path: Path) -> dict[str, str]:
    """The answers of a file; none if it is absent or damaged, as they only save work."""
    given = SharedAnswerFile.read_if_valid(path)
    return dict(given.__pydantic_extra__) if given else {}


class SharedAnswers:
    """The folder where the workers of a node leave their frequent answers."""

    def __init__(self, folder: Path, worker: int, answers: AnswerCache) -> None:
        self.folder, self.answers = folder, answers
        self.own_file = folder / f"{worker:05d}.json"
        self._written = read_answers(self.own_file)
        self._file_states: dict[str, tuple[int, int]] = {}
        self.exchange()

    def exchange(self) -> None:
        """Take what others left since the last time, and leave what is frequent here."""
        for path in sorted(self.folder.glob("[0-9]*.json")):
            try:
                facts = path.stat()
            except OSError:
                continue  # another worker's, which only saves work
            state = (facts.st_mtime_ns, facts.st_size)
            if self._file_states.get(path.name) != state:
                self._file_states[path.name] = state
                self.answers.put_all(read_answers(path))
        room = max(MAX_SHARED_ANSWERS - len(self._written), 0)
        found = dict(islice(self.answers.newly_frequent().items(), room))
        if found:
            self._written.update(found)
            SharedAnswerFile.model_validate(self._written).write(self.own_file)
