"""What a SLURM cluster says to the jobs of a visit, none of which is submitted, and what it does
with any job: accounting, requeue, preemption, signals, nodes.
"""

from collections.abc import Iterable, Iterator, Sequence

from hala_hpc.backends.slurm.backend import Objections, SlurmBackend
from hala_hpc.backends.slurm.cluster import TEST_ONLY, Limits, Partition, Qos, Site
from hala_hpc.backends.slurm.cluster_query import read_site
from hala_hpc.core.errors import UNAVAILABLE, TransientError
from hala_hpc.core.job import Job
from hala_hpc.doctor.findings import Finding, State
from hala_hpc.doctor.gpus import gpu_findings
from hala_hpc.doctor.limits import job_findings, select_accepted
from hala_hpc.doctor.scope import DoctorScope, JobShape, group_jobs

#: Ways of following a job's processes of which none gets away.
TRACKS_ALL = ("cgroup", "linuxproc")


def slurm_findings(scope: DoctorScope, ask_each: bool) -> Iterator[Finding]:
    """What the cluster says; with `ask_each` also to one job of every kind that seems to fit."""
    problems, site = SlurmBackend().preflight(), None
    try:
        site = None if problems else read_site()
    except TransientError as error:
        problems = [str(error)]
    why, fix = "no job can be asked for", "nothing else about the cluster is known until then"
    yield from (Finding("cluster", "bad", text, why, fix, UNAVAILABLE) for text in problems)
    if site is None:
        return
    kinds = group_jobs(scope.jobs())
    yield from cluster_findings(site, kinds)
    yield from job_findings(site, kinds)
    yield from gpu_findings(site, kinds, scope.fp8_nodes())
    if ask_each:
        yield from test_submissions(scope, select_accepted(site, kinds))


def test_submissions(scope: DoctorScope, kinds: Sequence[JobShape]) -> Iterator[Finding]:
    """What `--test-only` says to a job of each kind, in SLURM's words."""
    try:
        found = SlurmBackend().objections([job_of(scope, kind) for kind in kinds])
    except TransientError as error:
        found = Objections((str(error),))
    for text in found.waits:
        waits = "sbatch takes such a job, and it starts when nodes are back"
        yield Finding("jobs", "warn", text, waits, "wait, or name another partition")
    texts = found.refused
    why = "the launcher would be told the same"
    fix = "ask the admins with SLURM's words: no limit that can be read explains it"
    for text in texts:
        yield Finding("jobs", "bad", f"`{TEST_ONLY}`: {text}", why, fix)
    if kinds and not texts:
        what = f"`{TEST_ONLY}` takes a job of each of these kinds"
        yield Finding("jobs", "good", what, "the launcher's jobs are not refused")


def job_of(scope: DoctorScope, kind: JobShape) -> Job:
    """A job of a kind, as the launcher would hand it in."""
    return Job(
        name=f"doctor-{kind.names[0]}"[:64],
        module="hala_hpc.worker",
        arguments=(str(scope.work),),
        array_size=kind.workers,
        python=scope.launcher.python_of("main"),
        resources=kind.asked,
        folder=scope.work / "doctor",
        environment=scope.launcher.environment,
        setup=scope.launcher.setup,
    )


def cluster_findings(site: Site, kinds: Iterable[JobShape]) -> list[Finding]:
    """Ways of the cluster as a whole, and of the partitions and QOS that jobs go to."""
    places = dict.fromkeys(
        (name, qos_in(site, kind, name)) for kind in kinds for name in kind.partitions(site)
    )
    known = dict.fromkeys(name for name, _ in places if name in site.partitions)
    return [
        Finding(
            "cluster",
            "good",
            f"SLURM {site.version} of {site.cluster!r} answers; partitions: "
            f"{', '.join(sorted(site.partitions))}",
            "jobs can be asked for from here",
        ),
        accounting(site),
        requeue(site),
        signals(site),
        *dict.fromkeys(preemption(site, name, qos) for name, qos in places if name in known),
        *(nodes_left(site.partitions[name]) for name in known),
    ]


def accounting(site: Site) -> Finding:
    """Whether somebody can be asked how jobs ended and what they cost."""
    if site.accounting:
        return Finding(
            "cluster",
            "warn",
            f"accounting does not answer: {site.accounting}",
            "runs work without it: marks on the disk are the truth; but GPU hours, limits of "
            "accounts and the causes of some failures are not known",
            "nothing to do where the site has none; else ask its admins for the accounting daemon",
        )
    limits = "limits" in site.enforced
    rule = "refuses or holds what exceeds" if limits else "does not apply"
    return Finding(
        "cluster",
        "good",
        f"accounting answers; the controller {rule} the limits of accounts and QOS",
        "GPU hours and causes of failures are known",
    )


def requeue(site: Site) -> Finding:
    """Whether a preempted job comes back by itself."""
    usual = "by default" if site.requeues else "where they ask for it (JobRequeue=0)"
    return Finding(
        "cluster",
        "good",
        f"jobs are requeued {usual}; workers do ask",
        "a worker that lost its node comes back by itself and goes on; one that is not requeued "
        "is submitted again by the gate",
    )


def signals(site: Site) -> Finding:
    """Whether a stop reaches every process of a job."""
    if site.tracks_by not in TRACKS_ALL:
        return Finding(
            "cluster",
            "warn",
            f"processes are tracked by {site.tracks_by or 'nothing'!r}",
            "a process that starts a session of its own may outlive its job and keep a GPU; "
            "late writes of it are refused, but its memory is gone until it ends",
            "ask the admins for proctrack/cgroup; see leftovers with `nvidia-smi` on the node",
        )
    return Finding(
        "cluster",
        "good",
        f"processes are tracked by {site.tracks_by}; {site.kill_wait_s} s from SIGTERM to SIGKILL",
        "nothing outlives its job; what is not written in that time is done again",
    )


def qos_in(site: Site, kind: JobShape, partition: str) -> str:
    """The QOS that a kind of job has in a partition; "" where there are none."""
    options = kind.asked.options
    own = site.association(options.get("account", ""), partition)
    return site.qos_of(options.get("qos", ""), own)


def mode_of(site: Site, partition: str, qos: str) -> tuple[str, str, int]:
    """Whose rule counts for jobs of a partition and QOS, its mode and its grace in seconds."""
    if site.preempts_by != "qos":
        one = site.partitions[partition]
        return f"partition {partition}", one.preempt_mode, one.grace_s
    own = site.qos.get(qos, Qos(Limits(f"QOS {qos}")))
    if not any(qos in other.preempts for other in site.qos.values()):
        return f"QOS {qos}", "OFF", 0
    mode = site.preempt_mode if own.preempt_mode in ("", "CLUSTER") else own.preempt_mode
    return f"QOS {qos}", mode, own.grace_s


def preemption(site: Site, partition: str, qos: str) -> Finding:
    """What happens to jobs of a partition and QOS when others want their nodes."""
    whose, mode, grace_s = mode_of(site, partition, qos)
    state: State = "good"
    fix = ""
    if site.preempts_by == "none" or mode in ("OFF", "DISABLED"):
        message, why = "jobs are not preempted", "a worker keeps its node until its time is up"
    elif "SUSPEND" in mode or "GANG" in mode:
        state = "warn"
        message = f"preempted jobs are stopped in place ({mode})"
        why = "their memory stays taken, clocks run on, and several ranks may lose each other"
        fix = "take a partition or QOS that requeues: options.partition, options.qos"
    else:
        warning_signal = "the job's own signal" if site.sends_user_signal else "SIGTERM"
        warning = f"{grace_s} s after {warning_signal}" if grace_s else "without warning"
        message = f"preempted jobs end {warning} ({mode})"
        why = "rows are on the disk after 30 s (commit_interval_s), so little is done again"
        if "CANCEL" in mode:
            state, why = "warn", f"{why}; they are not requeued, so the gate submits them again"
            fix = "take a partition or QOS that requeues, or live with a wait for each preemption"
        elif not grace_s:
            why += "; a training goes back to its last checkpoint"
    return Finding("cluster", state, f"{whose}: {message}", why, fix)


def nodes_left(partition: Partition) -> Finding:
    """How many nodes of a partition can take jobs."""
    total = sum(kind.nodes for kind in partition.kinds)
    usable = sum(kind.usable for kind in partition.kinds)
    state: State = "good" if usable * 2 >= total and usable else "warn"
    if partition.state == "DOWN":
        # Jobs are taken and wait, as for nodes that are all down.
        state = "warn"
    elif partition.state != "UP":
        state = "bad"
    return Finding(
        "cluster",
        state,
        f"partition {partition.name} is {partition.state}: {usable} of {total} nodes are in use "
        "or free",
        "jobs start only in a partition that is UP, on nodes that are not down or drained",
        "" if state == "good" else "name another partition (`sinfo -s` lists them), or wait",
    )
