"""What SLURM tells of jobs afterwards: how their elements ended and where, and what they used."""

import contextlib
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from hala_hpc.backends.slurm.client import ask, split_rows
from hala_hpc.backends.slurm.parsing import hosts, pairs
from hala_hpc.core.errors import FailureClass, Retry

#: Accounting is a witness only: who asks how jobs ended, or what they used, goes on without it
#: after so many seconds.
ENDS_LIMIT_S, USED_LIMIT_S = 10, 5
#: A row for each run of a job or element, without those of its steps.
ACCOUNTING = ("sacct", "--parsable2", "--noheader", "--allocations", "--duplicates")
GPUS = re.compile(r"(?:^|,)gres/gpu=(\d+)(?:,|$)")


class JobEnd(StrEnum):
    """Ends of a job that are no failure of one class."""

    COMPLETED = "completed"
    FAILED = "failed"
    """With an exit code or signal of its own."""
    DEPENDENCY = "dependency"
    """Cancelled by the scheduler, as what it waited for had failed."""


#: SLURM's states of what has ended. Those of `squeue`'s manual, "JOB STATE CODES".
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
#: No other run follows such an end: accounting that is behind may show it twice.
FINAL = (JobEnd.COMPLETED, JobEnd.FAILED, FailureClass.TIMEOUT, FailureClass.HOST_OOM)


@dataclass(frozen=True)
class ElementEnd:
    """The end of one run of a job or of one element of an array."""

    job: str
    """`12_3`, or `12` for a job that is no array."""
    kind: FailureClass | JobEnd
    state: str
    """SLURM's own word."""
    nodes: tuple[str, ...] = ()
    """Where it ran; empty when it never began."""
    exit_code: str = ""
    """Code and signal, e.g. `75:0`; empty where only the queue tells."""
    derived_code: str = ""
    """The same of its worst step: `0:9` where a signal ended that. The job's own is then `9:0`, as
    if it had left with 9: SLURM takes 128 off the code by which a shell tells of a signal."""

    @property
    def has_own_code(self) -> bool:
        """Whether it left with a code of its own: no signal ended it, nor the command it ran."""
        code, _, number = self.exit_code.partition(":")
        by_signal = self.derived_code.partition(":")[2] not in ("", "0")
        return code.isdigit() and 0 < int(code) <= 128 and number in ("", "0") and not by_signal

    def words(self) -> str:
        """`OUT_OF_MEMORY 0:125 on node3`."""
        place = f"on {', '.join(self.nodes)}" if self.nodes else "before it began"
        return " ".join(word for word in (self.state, self.exit_code, place) if word)


def element_ends(ids: Collection[str]) -> dict[str, list[ElementEnd]]:
    """Every run that has ended of the elements of some jobs, oldest first, by `12_3`.

    Two questions: accounting knows all runs of a requeued job but comes late or is away; the
    queue remembers for some minutes how each job ended at last. Empty where nobody answers.
    """
    found: dict[str, list[ElementEnd]] = {}
    last = list(remembered(ids))
    told_of = {end.job.partition("_")[0] for end in last}
    for end in accounted(ids):
        # Why those were cancelled that never began only the queue tells.
        if end.nodes or end.job.partition("_")[0] not in told_of:
            runs = found.setdefault(end.job, [])
            if end.kind not in FINAL or end not in runs[-1:]:
                runs.append(end)
    for end in last:
        told = found.setdefault(end.job, [])
        if not told:
            told.append(end)
        elif told[-1].kind != end.kind:
            told[-1] = replace(told[-1], kind=end.kind, state=end.state, nodes=end.nodes)
    if any(end.kind is JobEnd.FAILED and not end.exit_code for end in last):
        add_codes(found, ids)
    return found


def add_codes(found: dict[str, list[ElementEnd]], ids: Collection[str]) -> None:
    """Add the exit codes of last runs that accounting does not know, or not yet."""
    with contextlib.suppress(Retry):
        for number in sorted(ids):
            told = ask("scontrol", "show", "job", "--oneliner", number).stdout
            for said in map(pairs, told.splitlines()):
                array, element = said.get("ArrayJobId"), said.get("ArrayTaskId")
                runs = found.get(f"{array}_{element}" if array else said.get("JobId", ""))
                if runs and not runs[-1].exit_code:
                    code, derived = said.get("ExitCode", ""), said.get("DerivedExitCode", "")
                    runs[-1] = replace(runs[-1], exit_code=code, derived_code=derived)


def accounted(ids: Collection[str]) -> Iterator[ElementEnd]:
    """What accounting tells."""
    if not ids or not shutil.which("sacct"):
        return
    fields = "--format=JobID,State,NodeList,ExitCode,DerivedExitCode"
    jobs = f"--jobs={','.join(sorted(ids))}"
    try:
        done = ask(*ACCOUNTING, jobs, fields, limit_s=ENDS_LIMIT_S)
    except Retry:
        return
    for name, state, nodes, *codes in (r for r in split_rows(done.stdout) if len(r) == 5):
        # "CANCELLED by 1000" names who did it.
        if kind := ENDS.get(state.split()[0]):
            yield ElementEnd(name, kind, state, hosts(nodes), *codes)


def remembered(ids: Collection[str]) -> Iterator[ElementEnd]:
    """What the queue still knows of jobs that have ended."""
    if not ids:
        return
    words = ("--noheader", "--states=all", f"--jobs={','.join(sorted(ids))}")
    try:
        done = ask("squeue", *words, "--format=%F|%K|%T|%N|%r")
    except Retry:
        return
    for number, element, state, nodes, why in (r for r in split_rows(done.stdout) if len(r) == 5):
        if kind := ENDS.get(state):
            if kind is FailureClass.CANCELLED and why.startswith("Dependency"):
                kind = JobEnd.DEPENDENCY
            name = f"{number}_{element}" if element.isdigit() else number
            yield ElementEnd(name, kind, state, hosts(nodes))


@dataclass(frozen=True)
class Used:
    """What all elements and attempts of a job or array have used until now."""

    seconds: int = 0
    gpu_seconds: int | None = None
    """None where the site does not count GPUs."""


def used(ids: Collection[str]) -> dict[str, Used] | None:
    """What jobs and arrays have used, by their ids; one question. None: nobody answers."""
    if not ids or not shutil.which("sacct"):
        return None if ids else {}
    fields, jobs = "--format=JobID,ElapsedRaw,AllocTRES", f"--jobs={','.join(sorted(ids))}"
    try:
        done = ask(*ACCOUNTING, jobs, fields, limit_s=USED_LIMIT_S)
    except Retry:
        return None
    if done.returncode:
        return None
    found: dict[str, Used] = {}
    for name, elapsed, tres in (row for row in split_rows(done.stdout) if len(row) == 3):
        number = name.split("_")[0]
        found[number] = added(found.get(number, Used()), int(elapsed or 0), tres)
    return found


def added(before: Used, seconds: int, tres: str) -> Used:
    """What was used, with one element more."""
    gpus = GPUS.search(tres)
    if gpus is None:
        return Used(before.seconds + seconds, before.gpu_seconds)
    return Used(before.seconds + seconds, (before.gpu_seconds or 0) + seconds * int(gpus[1]))
