"""Names and records of attempts: formatted, parsed and listed here only.

`attempts/` of a node has one record for each rank of each attempt, written by its supervisor at
the end: `r0001-w00003-12_3-0.json` for rank 0, `r0001-w00003-12_3-0-rank1.json` for rank 1.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from hala_hpc.core.artifact import MAX_PROGRESS_AGE_S, Artifact
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
from hala_hpc.core.job_records import AttemptRecord

#: Rounds have at least four digits, workers at least five.
NAME = re.compile(r"r(?P<round>\d{4,})-w(?P<worker>\d{5,})-(?P<job>[^-\s]+)-(?P<restarts>\d+)")
#: Name of the record of a rank.
RECORD = re.compile(rf"(?P<name>{NAME.pattern})(?:-rank(?P<rank>\d+))?")
CODE_MEANINGS = {
    OK: "all done",
    USAGE: "usage",
    BAD_DATA: "bad data",
    NO_INPUT: "missing input",
    UNAVAILABLE: "unavailable",
    INTERNAL: "a defect",
    CANNOT_CREATE: "cannot write",
    RETRY: "another attempt resumes",
    CONFIG: "bad recipe or set-up",
}


@dataclass(frozen=True)
class AttemptName:
    """`r0001-w00003-12_3-0`: one run of one worker in one round of jobs."""

    round: int
    worker: int
    job: str
    """`12_3` for an array task, `12` for a job without an array."""
    restarts: int
    """How often the scheduler has requeued and restarted the job."""

    def __str__(self) -> str:
        return f"r{self.round:04d}-w{self.worker:05d}-{self.job}-{self.restarts}"

    @property
    def job_id(self) -> str:
        """Id of the job or array."""
        return self.job.partition("_")[0]

    def record_name(self, rank: int) -> str:
        """Name of the record of a rank, without `.json`."""
        return str(self) if rank == 0 else f"{self}-rank{rank}"

    @classmethod
    def parse(cls, text: str) -> "AttemptName | None":
        """Parse a name; None if the text is not the name of an attempt."""
        found = NAME.fullmatch(text)
        return cls.from_match(found) if found else None

    @classmethod
    def from_match(cls, found: re.Match[str]) -> "AttemptName":
        """The name in a match of one of the patterns of this module."""
        return cls(int(found["round"]), int(found["worker"]), found["job"], int(found["restarts"]))


@dataclass(frozen=True)
class RankAttempt:
    """One rank of one attempt, by the name of its record."""

    name: AttemptName
    rank: int = 0

    @classmethod
    def parse(cls, text: str) -> "RankAttempt | None":
        """Parse the name of a record without `.json`; None if it is not one."""
        found = RECORD.fullmatch(text)
        return cls(AttemptName.from_match(found), int(found["rank"] or 0)) if found else None


@dataclass(frozen=True)
class AttemptEnd:
    """The end of one rank of one attempt."""

    attempt: AttemptName
    rank: int
    record: AttemptRecord

    @cached_property
    def name(self) -> str:
        """Name of the attempt."""
        return str(self.attempt)

    @property
    def worker(self) -> int:
        """Number of the worker."""
        return self.attempt.worker

    @property
    def round(self) -> int:
        """The round of jobs that it belongs to."""
        return self.attempt.round

    @property
    def ended(self) -> float:
        """Time of the end, in seconds since the epoch."""
        return self.record.began + self.record.seconds

    @property
    def has_failed(self) -> bool:
        """Whether it ended with an error of its own, not because it was stopped."""
        return self.record.code not in (OK, RETRY)

    def describe(self) -> str:
        """`exit code 70 (a defect): RuntimeError: no`."""
        code = self.record.code
        meaning = CODE_MEANINGS.get(code, "unknown")
        reasons = "; ".join(" ".join(reason.split()) for reason in self.record.reasons)
        return f"exit code {code} ({meaning})" + (f": {reasons}" if reasons else "")


def recorded_names(artifact: Artifact) -> list[RankAttempt]:
    """Every rank of every attempt that left a record; only file names are read."""
    files = sorted(artifact.attempts.glob("r*.json"))
    return [found for path in files if (found := RankAttempt.parse(path.stem))]


def attempt_names(artifact: Artifact) -> set[AttemptName]:
    """Every attempt of a node that left a file of any kind."""
    found = (NAME.match(path.name) for path in artifact.attempts.glob("r*"))
    return {AttemptName.from_match(name) for name in found if name}


def iter_attempt_ends(artifact: Artifact, number: int | None = None) -> Iterator[AttemptEnd]:
    """Yield the records of all attempts, or of one round, by name, without damaged ones."""
    for found in recorded_names(artifact):
        if number is None or found.name.round == number:
            record = artifact.attempt(found.name.record_name(found.rank))
            if record:
                yield AttemptEnd(found.name, found.rank, record)


def attempt_ends(artifact: Artifact) -> list[AttemptEnd]:
    """Every rank of every attempt that left a record, ordered by the time of its end."""
    return sorted(iter_attempt_ends(artifact), key=lambda end: end.ended)


def find_failed_record(artifact: Artifact, attempt: str) -> AttemptRecord | None:
    """Record of the first rank of an attempt that ended with an error of its own, or None."""
    name = AttemptName.parse(attempt)
    ends = iter_attempt_ends(artifact, name.round) if name else iter(())
    return next((end.record for end in ends if end.attempt == name and end.has_failed), None)


def newest_attempt(artifact: Artifact, worker: int) -> AttemptName | None:
    """The newest attempt of a worker; None if none has started."""
    lease = artifact.worker_lease(worker)
    return AttemptName.parse(lease.attempt) if lease else None


def has_records(artifact: Artifact) -> bool:
    """Whether any attempt of a node has left a record."""
    return any(artifact.attempts.glob("*.json"))


def is_rank_active(artifact: Artifact, attempt: str, worker: int, rank: int) -> bool:
    """Whether a rank of an attempt wrote its progress within the last minute."""
    progress = artifact.rank_progress(worker, rank)
    return bool(
        progress
        and progress.attempt == attempt
        and time.time() - progress.time < MAX_PROGRESS_AGE_S
    )
