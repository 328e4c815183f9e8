"""How the attempts of a node ended: the words of their supervisors, and silence."""

import re
import time
from dataclasses import dataclass
from functools import cached_property

from hala_hpc.core.artifact import ALIVE_S, Artifact
from hala_hpc.core.errors import (
    BAD_DATA,
    CANNOT_CREATE,
    CONFIG,
    INTERNAL,
    NO_INPUT,
    OK,
    RETRY,
    UNAVAILABLE,
    USAGE,
)
from hala_hpc.core.files import read_json

NAME = re.compile(r"r(?P<round>\d{4})-w(?P<worker>\d{5})-(?P<job>[^-\s]+)-(?P<restarts>\d+)")
FILE = re.compile(rf"(?P<name>{NAME.pattern})(?:-rank(?P<rank>\d+))?\.json")
CODE_WORDS = {
    OK: "all done",
    USAGE: "usage",
    BAD_DATA: "bad data",
    NO_INPUT: "missing input",
    UNAVAILABLE: "unavailable",
    INTERNAL: "a defect",
    CANNOT_CREATE: "cannot write",
    RETRY: "another attempt goes on",
    CONFIG: "bad recipe or set-up",
}


@dataclass(frozen=True)
class AttemptEnd:
    """One rank of one attempt, and how it ended."""

    name: str
    worker: int
    rank: int
    host: str
    code: int
    reasons: tuple[str, ...]
    ended: float
    """Seconds since the epoch."""

    @property
    def has_failed(self) -> bool:
        """Whether it ended for a reason of its own, not because it was stopped."""
        return self.code not in (OK, RETRY)

    @cached_property
    def round(self) -> int:
        """The round of jobs that it belongs to."""
        found = NAME.match(self.name)
        return int(found["round"]) if found else 0

    def words(self) -> str:
        """`exit code 70 (a defect): RuntimeError: no`."""
        meaning = CODE_WORDS.get(self.code, "unknown")
        reasons = "; ".join(" ".join(reason.split()) for reason in self.reasons)
        return f"exit code {self.code} ({meaning})" + (f": {reasons}" if reasons else "")


def attempt_ends(artifact: Artifact) -> list[AttemptEnd]:
    """Every rank of every attempt that left a word, in the order of their ends."""
    found = []
    for path in (artifact.folder / "attempts").glob("r*.json"):
        name = FILE.fullmatch(path.name)
        value = read_json(path) if name else None
        if name and value and "worker" in value:
            reasons, ended = tuple(value["reasons"]), value["began"] + value["seconds"]
            host, code = str(value["host"]), int(value["code"])
            found.append(
                AttemptEnd(name["name"], value["worker"], value["rank"], host, code, reasons, ended)
            )
    return sorted(found, key=lambda end: end.ended)


def is_at_work(artifact: Artifact, attempt: str, worker: int, rank: int) -> bool:
    """Whether a rank of an attempt gave a sign of life, or its last, within the last minute."""
    word = read_json(artifact.progress_file(worker, rank)) or {}
    return word.get("attempt") == attempt and time.time() - word.get("time", 0) < ALIVE_S
