"""Gathers what is known of how a round of jobs ended, and writes down what kinds of failure it was.

Asked by the gate, once a round: the attempts' own words, the scheduler's, the ends of their logs.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hala_hpc.jobs.attempt_records import FILE, NAME
from hala_hpc.backends.slurm_ends import ElementEnd, element_ends, memory_limit_gb
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import OK
from hala_hpc.core.files import read_json, write_json
from hala_hpc.jobs.failures.classify import (
    FOLLOWS,
    HOST_MEMORY,
    PREEMPTED,
    Evidence,
    Failure,
    as_json,
    classify,
    from_json,
)
from hala_hpc.jobs.log_file import parts_of, tail

#: Lines of a log that are searched for the words of libraries.
LOG_LINES = 300
#: Logs that are read after a round: more would only say the same.
MOST_LOGS = 200


@dataclass(frozen=True)
class Recorded:
    """What one rank of an attempt wrote down; `value` is empty for one that left no word."""

    attempt: str
    worker: int
    rank: int
    job: str
    restarts: int
    value: dict[str, Any]


def note_failures(artifact: Artifact) -> None:
    """Find out how the last round ended, and write it beside the attempts.

    The file holds `failures`; `scheduler`, its words about what did not end well; and
    `memory_limit_gb`, the most that a job may ask for, where memory was too small.
    """
    spec = artifact.round(artifact.last_round())["spec"]
    is_local = spec["launcher"]["backend"] == "local"
    jobs = (read_json(artifact.jobs_file) or {}).get("workers", "")
    ends = {} if is_local or not jobs else element_ends([jobs])
    found = [classify(evidence) for evidence in gather(artifact, spec, ends)]
    failures = causes([failure for failure in found if failure])
    limit = None
    if not is_local and any(failure.kind == HOST_MEMORY for failure in failures):
        limit = memory_limit_gb(spec["resources"]["options"])
    bad = [end for runs in ends.values() for end in runs if end.kind != "completed"]
    write_json(
        artifact.failures_file(artifact.last_round()),
        {
            "failures": as_json(failures),
            "scheduler": list(dict.fromkeys(end.words() for end in bad)),
            "memory_limit_gb": limit,
            "time": time.time(),
        },
    )


def causes(failures: Sequence[Failure]) -> list[Failure]:
    """Each failure once, without the ends of ranks that were stopped because another had failed."""
    guilty = {f.attempt for f in failures if f.attempt and f.kind not in (PREEMPTED, FOLLOWS)}
    return [
        failure
        for failure in dict.fromkeys(failures)
        if failure.kind not in (PREEMPTED, FOLLOWS) or failure.attempt not in guilty
    ]


def failures_of(artifact: Artifact, number: int) -> list[Failure]:
    """The failures of a round; none where no gate has looked at it."""
    return from_json((read_json(artifact.failures_file(number)) or {}).get("failures", []))


def scheduler_words(artifact: Artifact) -> list[str]:
    """How the scheduler saw the workers of the last round end, each once, where not well."""
    found = read_json(artifact.failures_file(artifact.last_round())) or {}
    words: list[str] = found.get("scheduler", [])
    return words


def gather(
    artifact: Artifact, spec: dict[str, Any], ends: dict[str, list[ElementEnd]]
) -> Iterator[Evidence]:
    """All evidence of the last round: a piece for each rank that wrote, and for silent jobs."""
    records = [*recorded(artifact), *silent(artifact)]
    known = {(record.job, record.restarts) for record in records}
    runs = {job: aligned(told, known, job) for job, told in ends.items()}
    limit_s = 60.0 * spec["resources"]["timeout_min"]
    bad = [record for record in records if record.value.get("code") != OK]
    for place, record in enumerate(bad):
        end = runs.get(record.job, {}).get(record.restarts)
        text = log_tail(artifact, record) if place < MOST_LOGS else ""
        yield evidence_of(record, end, limit_s, text)
    elements = elements_of(artifact)
    for job, told in runs.items():
        for restarts, end in told.items():
            if job in elements and (job, restarts) not in known:
                yield Evidence(
                    nodes=end.nodes, scheduler_kind=end.kind, scheduler_words=end.words()
                )


def elements_of(artifact: Artifact) -> set[str]:
    """Names of the jobs of the last round, e.g. `12_0`; accounting that is behind has others."""
    number = (read_json(artifact.jobs_file) or {}).get("workers", "")
    count = len(artifact.round(artifact.last_round())["assignment"])
    return {f"{number}_{element}" for element in range(count)} if count > 1 else {number}


def evidence_of(
    record: Recorded, end: ElementEnd | None, limit_s: float, log_text: str
) -> Evidence:
    """What a record, the scheduler and the log say together."""
    value = record.value
    own = value.get("nodes") or ([value["node"]] if "node" in value else [])
    return Evidence(
        attempt=record.attempt,
        worker=record.worker,
        nodes=tuple(own) or (end.nodes if end else ()),
        code=value.get("code"),
        reasons=tuple(value.get("reasons", ())),
        told=value.get("kind", ""),
        signature=value.get("signature", ""),
        is_kernel_kill=value.get("kernel_kill", False),
        is_stopped=value.get("stopped", False),
        seconds=value.get("seconds", 0.0),
        time_limit_s=limit_s,
        scheduler_kind=end.kind if end else "",
        scheduler_words=end.words() if end else "",
        log_tail=log_text,
    )


def recorded(artifact: Artifact) -> Iterator[Recorded]:
    """What the ranks of the attempts of the last round wrote down when they ended."""
    number = artifact.last_round()
    for path in sorted((artifact.folder / "attempts").glob(f"r{number:04d}-*.json")):
        name = FILE.fullmatch(path.name)
        value = read_json(path) if name else None
        if name and value and "worker" in value:
            rank = int(name["rank"] or 0)
            yield Recorded(
                name["name"], value["worker"], rank, name["job"], int(name["restarts"]), value
            )


def silent(artifact: Artifact) -> Iterator[Recorded]:
    """The newest attempt of each worker of the last round that began and left no word."""
    number = artifact.last_round()
    for worker in range(len(artifact.round(number)["assignment"])):
        attempt = str((read_json(artifact.lease_file(worker)) or {}).get("attempt", ""))
        name = NAME.fullmatch(attempt)
        if name and int(name["round"]) == number and not artifact.attempt_file(attempt).exists():
            yield Recorded(attempt, worker, 0, name["job"], int(name["restarts"]), {})


def aligned(told: list[ElementEnd], known: set[tuple[str, int]], job: str) -> dict[int, ElementEnd]:
    """The scheduler's runs of a job by their number of restarts; it may know the last ones only."""
    runs = max((restarts + 1 for name, restarts in known if name == job), default=0)
    first = max(0, runs - len(told))
    return dict(enumerate(told, first))


def log_tail(artifact: Artifact, record: Recorded) -> str:
    """The end of what a rank of an attempt wrote into its log."""
    log = artifact.log_file(record.worker, record.rank)
    parts = [part for part in parts_of(log) if part.attempt == record.attempt]
    return "\n".join(tail(log, parts[-1], LOG_LINES)) if parts else ""
