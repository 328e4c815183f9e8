"""Ended jobs by SLURM's accounting and queue: how and where their tasks ended, and their usage."""

import contextlib
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from hala_hpc.backends.slurm.client import run_slurm, split_rows
from hala_hpc.backends.slurm.parsing import expand_hosts, parse_pairs
from hala_hpc.core.errors import FailureClass, TransientError

#: Seconds after which a query of ended jobs or of usage continues without accounting, which is
#: optional.
ENDS_LIMIT_S, USED_LIMIT_S = 10, 5
#: One row for each run of a job or array task, without its steps.
ACCOUNTING = ("sacct", "--parsable2", "--noheader", "--allocations", "--duplicates")
GPUS = re.compile(r"(?:^|,)gres/gpu=(\d+)(?:,|$)")


class JobEnd(StrEnum):
    """Ends of a job that do not map to one failure class."""

    COMPLETED = "completed"
    FAILED = "failed"
    """Ended with its own exit code or signal."""
    DEPENDENCY = "dependency"
    """Cancelled by SLURM because its dependency failed."""


#: States of ended jobs, from the manual of `squeue`, "JOB STATE CODES".
ENDS: Mapping[str, FailureClass | JobEnd] = {
    "COMPLETED": JobEnd.COMPLETED,
    **dict.fromkeys(("PREEMPTED", "REQUEUED", "REQUEUE_HOLD", "REVOKED"), FailureClass.PREEMPTED),
    **dict.fromkeys(("TIMEOUT", "DEADLINE"), FailureClass.TIMEOUT),
    **dict.fromkeys(
        ("NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL"), FailureClass.NODE_FAILURE
    ),
    "OUT_OF_MEMORY": FailureClass.HOST_OOM,
    "CANCELLED": FailureClass.CANCELLED,
    "FAILED": JobEnd.FAILED,
}
#: Exit code of a job whose srun started nothing: SLURM was taking the node, or its controller was
#: down. `slurm/job.sbatch` sets it with SLURM_EXIT_ERROR (manual of srun).
NO_STEP = 125
#: Ends after which no other run follows: late accounting may list them twice.
FINAL = (JobEnd.COMPLETED, JobEnd.FAILED, FailureClass.TIMEOUT, FailureClass.HOST_OOM)


@dataclass(frozen=True)
class NamedJob:
    """A job or array, identified by id and name in accounting and queue.

    The id alone is not enough: a controller that lost its state reuses ids, and accounting then
    lists all jobs that had the id.
    """

    id: str
    name: str


@dataclass(frozen=True)
class TaskExit:
    """The end of one run of a job or of one array task."""

    job: str
    """`12_3`, or `12` for a job without an array."""
    kind: FailureClass | JobEnd
    state: str
    """SLURM's job state."""
    nodes: tuple[str, ...] = ()
    """Nodes on which it ran; empty if it never started."""
    exit_code: str = ""
    """Exit code and signal, e.g. `75:0`; empty if only the queue knows the job."""
    derived_code: str = ""
    """The same for its worst step: `0:9` if a signal ended the step. The job's own is then `9:0`,
    like exit code 9: SLURM subtracts 128 from the exit code of a shell that reports a signal."""

    @property
    def has_own_code(self) -> bool:
        """Whether it ended with its own exit code: srun started the command, and no signal ended
        the job or the command."""
        code, _, number = self.exit_code.partition(":")
        by_signal = self.derived_code.partition(":")[2] not in ("", "0")
        is_own = code.isdigit() and 0 < int(code) <= 128 and int(code) != NO_STEP
        return is_own and number in ("", "0") and not by_signal

    def describe(self) -> str:
        """`OUT_OF_MEMORY 0:125 on node3`."""
        place = f"on {', '.join(self.nodes)}" if self.nodes else "before it started"
        return " ".join(part for part in (self.state, self.exit_code, place) if part)


def query_task_exits(jobs: Collection[NamedJob]) -> dict[str, list[TaskExit]]:
    """All ended runs of the tasks of some jobs, oldest first, by `12_3`.

    Two queries: accounting has all runs of a requeued job but is late or absent; the queue has the
    last end of each job for some minutes. Empty if neither answers.
    """
    found: dict[str, list[TaskExit]] = {}
    last = list(query_ended_in_queue(jobs))
    reported = {end.job.partition("_")[0] for end in last}
    for end in query_sacct(jobs):
        # Only the queue has the reason of a cancellation before the start.
        if end.nodes or end.job.partition("_")[0] not in reported:
            runs = found.setdefault(end.job, [])
            if end.kind not in FINAL or end not in runs[-1:]:
                runs.append(end)
    for end in last:
        known = found.setdefault(end.job, [])
        if not known:
            known.append(end)
        elif known[-1].kind != end.kind:
            known[-1] = replace(known[-1], kind=end.kind, state=end.state, nodes=end.nodes)
    if any(end.kind is JobEnd.FAILED and not end.exit_code for end in last):
        add_exit_codes(found, jobs)
    return found


def add_exit_codes(found: dict[str, list[TaskExit]], jobs: Collection[NamedJob]) -> None:
    """Add the exit codes of last runs that accounting does not have, or not yet."""
    with contextlib.suppress(TransientError):
        for job in jobs:
            output = run_slurm("scontrol", "show", "job", "--oneliner", job.id).stdout
            for fields in map(parse_pairs, output.splitlines()):
                if fields.get("JobName") != job.name:
                    continue
                array, element = fields.get("ArrayJobId"), fields.get("ArrayTaskId")
                runs = found.get(f"{array}_{element}" if array else fields.get("JobId", ""))
                if runs and not runs[-1].exit_code:
                    code, derived = fields.get("ExitCode", ""), fields.get("DerivedExitCode", "")
                    runs[-1] = replace(runs[-1], exit_code=code, derived_code=derived)


def query_sacct(jobs: Collection[NamedJob]) -> Iterator[TaskExit]:
    """Yield the ended runs in accounting."""
    if not jobs or not shutil.which("sacct"):
        return
    fields = "--format=JobID,JobName,State,NodeList,ExitCode,DerivedExitCode"
    try:
        done = run_slurm(*ACCOUNTING, ids_of(jobs), fields, limit_s=ENDS_LIMIT_S)
    except TransientError:
        return
    for element, name, state, nodes, *codes in (r for r in split_rows(done.stdout) if len(r) == 6):
        # The state may be "CANCELLED by 1000", with the uid of the user.
        kind = ENDS.get(state.split()[0])
        if kind and NamedJob(element.partition("_")[0], name) in jobs:
            yield TaskExit(element, kind, state, expand_hosts(nodes), *codes)


def ids_of(jobs: Collection[NamedJob]) -> str:
    """The `--jobs` flag of squeue and sacct for some jobs."""
    return f"--jobs={','.join(sorted({job.id for job in jobs}))}"


def query_ended_in_queue(jobs: Collection[NamedJob]) -> Iterator[TaskExit]:
    """Yield the ended jobs that are still in the queue."""
    if not jobs:
        return
    arguments = ("--noheader", "--states=all", ids_of(jobs), "--format=%F|%K|%j|%T|%N|%r")
    try:
        done = run_slurm("squeue", *arguments)
    except TransientError:
        return
    rows = (row for row in split_rows(done.stdout) if len(row) == 6)
    for number, element, called, state, nodes, why in rows:
        if (kind := ENDS.get(state)) and NamedJob(number, called) in jobs:
            if kind is FailureClass.CANCELLED and why.startswith("Dependency"):
                kind = JobEnd.DEPENDENCY
            name = f"{number}_{element}" if element.isdigit() else number
            yield TaskExit(name, kind, state, expand_hosts(nodes))


@dataclass(frozen=True)
class JobUsage:
    """Usage of all tasks and runs of a job or array until now."""

    seconds: int = 0
    gpu_seconds: int | None = None
    """None if the site does not account for GPUs."""
    energy_j: int | None = 0
    """Energy in joules; None if that of a run was not measured. Nodes are measured as a whole: for
    jobs that share a node it is too much."""


def query_usage(jobs: Collection[NamedJob]) -> dict[NamedJob, JobUsage] | None:
    """Query the usage of jobs and arrays, with one call of sacct; None if it does not answer."""
    if not jobs or not shutil.which("sacct"):
        return None if jobs else {}
    fields = "--format=JobID,JobName,ElapsedRaw,AllocTRES,ConsumedEnergyRaw"
    try:
        done = run_slurm(*ACCOUNTING, ids_of(jobs), fields, limit_s=USED_LIMIT_S)
    except TransientError:
        return None
    if done.returncode:
        return None
    found: dict[NamedJob, JobUsage] = {}
    for element, name, *usage in (row for row in split_rows(done.stdout) if len(row) == 5):
        job = NamedJob(element.partition("_")[0], name)
        if job in jobs:
            found[job] = add_usage(found.get(job, JobUsage()), *usage)
    return found


def add_usage(before: JobUsage, elapsed: str, tres: str, energy: str) -> JobUsage:
    """Add the usage of one more row."""
    seconds = int(elapsed or 0)
    gpu_seconds, energy_j = before.gpu_seconds, before.energy_j
    if (gpus := GPUS.search(tres)) is not None:
        gpu_seconds = (gpu_seconds or 0) + seconds * int(gpus[1])
    # A site without a plugin that measures energy reports 0 or nothing.
    if energy_j is not None and seconds:
        energy_j = energy_j + int(energy) if energy.isdigit() and int(energy) else None
    return JobUsage(before.seconds + seconds, gpu_seconds, energy_j)
