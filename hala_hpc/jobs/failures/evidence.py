"""Gather the evidence of how a round of jobs ended, and record the class of each failure.

Called by the gate, once for each round. The evidence is records of attempts, SLURM's accounting
and queue, and log tails.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hala_hpc.backends.slurm.cluster_query import query_memory_limit_gb
from hala_hpc.backends.slurm.sacct import JobEnd, NamedJob, TaskExit, query_task_exits
from hala_hpc.backends.slurm.sbatch import signal_delay_s
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import OK, FailureClass
from hala_hpc.core.job_records import AttemptRecord, Failure, RoundFailures
from hala_hpc.core.records import Round
from hala_hpc.core.resources import Resources
from hala_hpc.jobs.attempt_records import AttemptName, iter_attempt_ends, newest_attempt
from hala_hpc.jobs.failures.classify import Evidence, classify
from hala_hpc.jobs.failures.excluded_nodes import query_nodes
from hala_hpc.jobs.job_files import has_attempt_begun, job_file, read_last_line
from hala_hpc.jobs.log_file import LogTails
from hala_hpc.jobs.spec import job_name

#: Lines of a log that are searched for messages of libraries.
LOG_LINES = 300
#: Maximum number of logs read after a round: more add no information.
MAX_LOGS = 200
#: Classes that are ignored if another rank of the attempt has failed.
FOLLOWING = (FailureClass.PREEMPTED, FailureClass.SECONDARY)


@dataclass(frozen=True)
class RankEnd:
    """The end of one rank of an attempt; `record` is None if it left none."""

    attempt: AttemptName
    rank: int = 0
    record: AttemptRecord | None = None

    @property
    def run(self) -> tuple[str, int]:
        """The job and its number of restarts."""
        return self.attempt.job, self.attempt.restarts


def record_failures(artifact: Artifact) -> None:
    """Classify the failures of the last round and write them beside the attempts."""
    newest = artifact.require_newest_round()
    jobs = artifact.jobs()
    is_asked = not newest.spec.is_local and jobs and jobs.workers
    name = job_name("", artifact, newest.key)
    ends = query_task_exits([NamedJob(jobs.workers, name)]) if jobs and is_asked else {}
    found = [classify(evidence) for evidence in gather(artifact, newest, ends)]
    failures = causes([failure for failure in found if failure])
    limit = None
    if not newest.spec.is_local and any(f.kind is FailureClass.HOST_OOM for f in failures):
        limit = query_memory_limit_gb(newest.spec.resources.options)
    now = query_nodes(newest.spec, failures)
    bad = [end for runs in ends.values() for end in runs if end.kind is not JobEnd.COMPLETED]
    RoundFailures(
        failures=tuple(failures),
        scheduler=tuple(dict.fromkeys(end.describe() for end in bad)),
        memory_limit_gb=limit,
        max_excluded=now.max_excluded,
        recovered_nodes=now.healthy,
        time=time.time(),
    ).write(artifact.failures_file(newest.round))


def causes(failures: Sequence[Failure]) -> list[Failure]:
    """Each failure once, without ranks that were stopped because another rank failed."""
    guilty = {f.attempt for f in failures if f.attempt and f.kind not in FOLLOWING}
    return [
        failure
        for failure in dict.fromkeys(failures)
        if failure.kind not in FOLLOWING or failure.attempt not in guilty
    ]


def round_failures(artifact: Artifact, number: int) -> RoundFailures:
    """The recorded failures of a round with its queries; empty if no gate has recorded them."""
    return artifact.round_failures(number) or RoundFailures()


def recorded_failures(artifact: Artifact, number: int) -> tuple[Failure, ...]:
    """The failures of a round; empty if no gate has recorded them."""
    return round_failures(artifact, number).failures


def gather(
    artifact: Artifact, newest: Round, ends: dict[str, list[TaskExit]]
) -> Iterator[Evidence]:
    """Yield the evidence of the last round: for each rank with a record and each job without."""
    records = [*recorded(artifact, newest.round), *silent(artifact, newest)]
    known = {record.run for record in records}
    runs = {job: aligned(reported, known, job) for job, reported in ends.items()}
    asked = newest.spec.resources
    bad = [one for one in records if one.record is None or one.record.code != OK]
    logs: dict[Path, LogTails] = {}
    for place, one in enumerate(bad):
        end = runs.get(one.attempt.job, {}).get(one.attempt.restarts)
        path = artifact.log_file(one.attempt.worker, one.rank)
        log = logs.setdefault(path, LogTails(path))
        lines = log.read_attempt_tail(str(one.attempt), LOG_LINES) if place < MAX_LOGS else []
        yield with_times(evidence_of(one, end, "\n".join(lines)), asked)
    elements = array_tasks(artifact, newest)
    files = 0
    began = bool(records) or has_attempt_begun(artifact, newest.spec.since_round or newest.round)
    for job, reported in runs.items():
        for restarts, end in reported.items():
            if job in elements and (job, restarts) not in known:
                files += 1
                file = job_file(artifact, job) if files <= MAX_LOGS else None
                yield with_times(without_record(end, began, file), asked)


def without_record(end: TaskExit, began: bool, file: Path | None) -> Evidence:
    """Evidence of a job without a record of an attempt, with the last line of its output.

    `began`: whether any attempt has started since the last launch.
    """
    return Evidence(
        reasons=(read_last_line(file),) if file else (),
        nodes=end.nodes,
        scheduler_kind=end.kind,
        scheduler_message=end.describe(),
        ended_before_us=not began and end.kind is JobEnd.FAILED and end.has_own_code,
    )


def array_tasks(artifact: Artifact, newest: Round) -> set[str]:
    """Names of the jobs of the last round, e.g. `12_0`; late accounting may list others."""
    jobs = artifact.jobs()
    number = jobs.workers if jobs else ""
    count = newest.workers
    return {f"{number}_{element}" for element in range(count)} if count > 1 else {number}


def evidence_of(one: RankEnd, end: TaskExit | None, log_text: str) -> Evidence:
    """The evidence of a record, SLURM and the log together."""
    scheduler_message = end.describe() if end else ""
    record = one.record
    if record is None:
        return Evidence(
            attempt=str(one.attempt),
            worker=one.attempt.worker,
            nodes=end.nodes if end else (),
            scheduler_kind=end.kind if end else None,
            scheduler_message=scheduler_message,
            log_tail=log_text,
        )
    own = record.nodes or ((record.node,) if record.node else ())
    return Evidence(
        attempt=str(one.attempt),
        worker=record.worker,
        nodes=own or (end.nodes if end else ()),
        code=record.code,
        reasons=record.reasons,
        kind=record.kind,
        signature=record.signature,
        is_kernel_kill=record.kernel_kill,
        is_stopped=record.stopped,
        seconds=record.seconds,
        loading_s=record.loading_s,
        scheduler_kind=end.kind if end else None,
        scheduler_message=scheduler_message,
        log_tail=log_text,
    )


def with_times(evidence: Evidence, asked: Resources) -> Evidence:
    """The evidence with the time limit of its job, by the resources of the round."""
    return replace(evidence, time_limit_s=60.0 * asked.timeout_min, warning_s=signal_delay_s(asked))


def recorded(artifact: Artifact, number: int) -> Iterator[RankEnd]:
    """The ranks of a round that left a record."""
    for end in iter_attempt_ends(artifact, number):
        yield RankEnd(end.attempt, end.rank, end.record)


def silent(artifact: Artifact, newest: Round) -> Iterator[RankEnd]:
    """The newest attempt of each worker of the last round if it left no record."""
    for worker in range(newest.workers):
        name = newest_attempt(artifact, worker)
        if name and name.round == newest.round and not artifact.attempt(str(name)):
            yield RankEnd(name)


def aligned(
    reported: list[TaskExit], known: Iterable[tuple[str, int]], job: str
) -> dict[int, TaskExit]:
    """SLURM's runs of a job by their number of restarts; it may know only the last ones."""
    runs = max((restarts + 1 for name, restarts in known if name == job), default=0)
    first = max(0, runs - len(reported))
    return dict(enumerate(reported, first))
