"""Cache of answers: each prompt goes to the model once, however many rows need its answer.

Workers of a node share the answers that rows reuse often. Each worker writes one file of its own
and reads those of the others, so nothing is locked.
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

#: Reuses of an answer in one worker after which it is shared with the other workers.
FREQUENT = 3
#: Prompts whose reuses are counted, at most: tens of MB.
MAX_COUNTED = 50_000
#: Answers that a worker shares, at most: a few MB for every other worker to read.
MAX_SHARED_ANSWERS = 2000


def compute_answer_key(prompt: Prompt) -> bytes:
    """Compute the 16-byte key of a prompt: a hash of its text and its sampling parameters."""
    return blake2b(
        f"{encode_sampling(prompt.sampling)}\0{prompt.text}".encode(), digest_size=16
    ).digest()


@cache
def encode_sampling(sampling: Sampling) -> str:
    """Encode sampling parameters as JSON; cached, as few of them occur for many prompts."""
    return json.dumps(asdict(sampling), sort_keys=True)


class AnswerCache:
    """All answers of one worker, on the disk of its node, so that memory does not grow.

    Stored in a temporary SQLite database. It has no name, is in the node's temporary folder, and
    disappears with this process however the process ends.
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
        """Return the answer to an earlier prompt; None if there is no valid one."""
        found = self._table.execute("SELECT answer FROM answers WHERE key=?", (key,)).fetchone()
        if found is None:
            return None
        self.count(key)
        return decode_answer(found[0])

    def count(self, key: bytes) -> None:
        """Count one reuse of a prompt."""
        if len(self._reuses) < MAX_COUNTED or key in self._reuses:
            self._reuses[key] += 1
            if self._reuses[key] == FREQUENT:
                self._frequent.append(key)

    def put(self, key: bytes, answer: Answer) -> None:
        """Store an answer unless the prompt has one."""
        self._table.execute(
            "INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, encode_answer(answer))
        )

    def newly_frequent(self) -> dict[str, str]:
        """Answers that became frequent since the last call: JSON text by hexadecimal key."""
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
        """Store answers of another worker."""
        rows = ((bytes.fromhex(key), text) for key, text in found.items())
        self._table.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)

    def close(self) -> None:
        """Close the database, which removes all answers."""
        self._table.close()


def encode_answer(answer: Answer) -> str:
    """Encode an answer as JSON: text, reason, probabilities, and a list of logprob and tokens."""
    values: list[object] = [answer.text, answer.reason, *answer.label_probabilities]
    if answer.logprob is not None:
        values.append([answer.logprob, answer.tokens])
    return json.dumps(values, ensure_ascii=False)


def decode_answer(text: str) -> Answer | None:
    """Decode an answer, perhaps of another worker; None if the text is not a valid one."""
    try:
        match json.loads(text):
            case [str(response), str(reason), [float(logprob), int(tokens)]]:
                return Answer(response, reason, logprob=logprob, tokens=tokens)
            case [str(response), str(reason), *probabilities]:
                return Answer(response, reason, tuple(map(float, probabilities)))
    except (ValueError, TypeError):
        pass
    return None


class SharedAnswerFile(JsonRecord):
    """`shared/00003.json`: answers that a worker shares, by the key of the prompt."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str]


def read_answers(path: Path) -> dict[str, str]:
    """Read the answers of a file; empty if it is absent or damaged, as they only save work."""
    given = SharedAnswerFile.read_if_valid(path)
    return dict(given.__pydantic_extra__) if given else {}


class SharedAnswers:
    """The folder in which the workers of a node share their frequent answers."""

    def __init__(self, folder: Path, worker: int, answers: AnswerCache) -> None:
        self.folder, self.answers = folder, answers
        self.own_file = folder / f"{worker:05d}.json"
        self._written = read_answers(self.own_file)
        self._file_states: dict[str, tuple[int, int]] = {}
        self.exchange()

    def exchange(self) -> None:
        """Read what other workers shared since the last call, and share new frequent answers."""
        for path in sorted(self.folder.glob("[0-9]*.json")):
            try:
                facts = path.stat()
            except OSError:
                continue  # the file of another worker, which only saves work
            state = (facts.st_mtime_ns, facts.st_size)
            if self._file_states.get(path.name) != state:
                self._file_states[path.name] = state
                self.answers.put_all(read_answers(path))
        room = max(MAX_SHARED_ANSWERS - len(self._written), 0)
        found = dict(islice(self.answers.newly_frequent().items(), room))
        if found:
            self._written.update(found)
            SharedAnswerFile.model_validate(self._written).write(self.own_file)
