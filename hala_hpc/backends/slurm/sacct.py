"""How SLURM saw the elements of arrays end: in what state, and on which nodes."""

import contextlib
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from hala_hpc.backends.slurm.client import ask, split_rows
from hala_hpc.backends.slurm.hostlists import hosts
from hala_hpc.backends.slurm.node_states import choice_of
from hala_hpc.backends.slurm.parsing import count, megabytes, pairs
from hala_hpc.core.errors import FailureClass, Retry

#: Accounting is a witness only: who asks goes on without it after so many seconds.
ACCOUNTING_LIMIT_S = 10


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

    @property
    def has_own_code(self) -> bool:
        """Whether it left with a code of its own: no signal ended it, nor the command it ran."""
        code, _, number = self.exit_code.partition(":")
        return code.isdigit() and 0 < int(code) <= 128 and number in ("", "0")

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
                    runs[-1] = replace(runs[-1], exit_code=said.get("ExitCode", ""))


def accounted(ids: Collection[str]) -> Iterator[ElementEnd]:
    """What accounting tells."""
    if not ids or not shutil.which("sacct"):
        return
    words = ("--parsable2", "--noheader", "--allocations", "--duplicates")
    fields = "--format=JobID,State,NodeList,ExitCode"
    jobs = f"--jobs={','.join(sorted(ids))}"
    try:
        done = ask("sacct", *words, jobs, fields, limit_s=ACCOUNTING_LIMIT_S)
    except Retry:
        return
    for name, state, nodes, code in (r for r in split_rows(done.stdout) if len(r) == 4):
        # "CANCELLED by 1000" names who did it.
        if kind := ENDS.get(state.split()[0]):
            yield ElementEnd(name, kind, state, hosts(nodes), code)


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


def memory_limit_gb(options: Mapping[str, str]) -> int | None:
    """The most memory in GB that a job with these options can ask for on one node.

    That of the largest node of its partitions and of their own limits; None: nobody tells.
    """
    asked = options.get("partition", "")
    words = ("--noheader", *((f"--partition={asked}",) if asked else ()))
    try:
        # %m is the memory of a node in MB; a `+` behind it says that others have more.
        nodes = ask("sinfo", *words, "--Node", "--format=%m")
        shown = ask("scontrol", "show", "partition", "--oneliner").stdout
    except Retry:
        return None
    largest = max(
        (megabytes(row[0].rstrip("+")) or 0 for row in split_rows(nodes.stdout)), default=0
    )
    limits = [
        int(found[2])
        for line in shown.splitlines()
        if (found := re.search(r"PartitionName=(\S+).* MaxMemPerNode=(\d+)", line))
        and (not asked or found[1] in asked.split(","))
    ]
    if not largest:
        return None
    return min([largest, *([max(limits)] if asked and limits else [])]) // 1024


def avoid(job: str, node: str) -> None:
    """Keep the elements of an array that wait off a node.

    A node that fails at once would take one of them after the other. Without an answer nothing is
    done, nor where as many nodes are left out as may be: the next round decides.
    """
    number = job.partition("_")[0]
    with contextlib.suppress(Retry):
        words = ("--noheader", "--states=PENDING", f"--jobs={number}", "--format=%P|%D|%x")
        waiting = split_rows(ask("squeue", *words).stdout)
        before = {name for row in waiting for name in hosts(row[2])}
        if waiting and node not in before:
            choice = choice_of({"partition": waiting[0][0]})
            if choice.all_nodes and len(before) >= choice.most_excluded(count(waiting[0][1]) or 1):
                return
            excluded = ",".join(sorted({*before, node}))
            # Says that it failed as soon as one element of the array runs, and has done the rest.
            ask("scontrol", "update", f"JobId={number}", f"ExcNodeList={excluded}")
