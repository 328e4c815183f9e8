"""Check whether a SLURM cluster accepts the jobs of a run, without submitting them, and how it
handles any job: accounting, requeue, preemption, signals, nodes.
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

#: Values of ProctrackType that track every process of a job.
TRACKS_ALL = ("cgroup", "linuxproc")


def slurm_findings(scope: DoctorScope, ask_each: bool) -> Iterator[Finding]:
    """Findings about the cluster; `ask_each` also tests each kind of job with `--test-only`."""
    problems, site = SlurmBackend().preflight(), None
    try:
        site = None if problems else read_site()
    except TransientError as error:
        problems = [str(error)]
    why, fix = "no job can be submitted", "fix this first: all other checks of the cluster need it"
    yield from (Finding("cluster", "error", text, why, fix, UNAVAILABLE) for text in problems)
    if site is None:
        return
    kinds = group_jobs(scope.jobs())
    yield from cluster_findings(site, kinds)
    yield from job_findings(site, kinds)
    yield from gpu_findings(site, kinds, scope.fp8_nodes())
    if ask_each:
        yield from test_submissions(scope, select_accepted(site, kinds))


def test_submissions(scope: DoctorScope, kinds: Sequence[JobShape]) -> Iterator[Finding]:
    """Test a job of each kind with `--test-only`; findings have SLURM's messages."""
    try:
        found = SlurmBackend().objections([job_of(scope, kind) for kind in kinds])
    except TransientError as error:
        found = Objections((str(error),))
    for text in found.waits:
        waits = "sbatch accepts such a job, and it starts when nodes are back"
        yield Finding("jobs", "warn", text, waits, "wait, or choose another partition")
    texts = found.refused
    why = "a launch would get the same error"
    fix = "ask the admins about SLURM's message: no limit that can be queried explains it"
    for text in texts:
        yield Finding("jobs", "error", f"`{TEST_ONLY}`: {text}", why, fix)
    if kinds and not texts:
        what = f"`{TEST_ONLY}` accepts a job of each of these kinds"
        yield Finding("jobs", "good", what, "the jobs of a launch are not refused")


def job_of(scope: DoctorScope, kind: JobShape) -> Job:
    """A job of a kind, as a launch would submit it."""
    return Job(
        name=f"doctor-{kind.names[0]}"[:64],
        module="hala_hpc.worker",
        arguments=(str(scope.work),),
        array_size=kind.workers,
        python=scope.launcher.python_of("main"),
        resources=kind.asked,
        folder=scope.work / "doctor",
        environment=scope.launcher.environment,
        setup=scope.launcher.setup_lines,
    )


def cluster_findings(site: Site, kinds: Iterable[JobShape]) -> list[Finding]:
    """Findings about the cluster as a whole, and about the partitions and QOS of the jobs."""
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
            "jobs can be submitted from here",
        ),
        accounting(site),
        requeue(site),
        signals(site),
        *dict.fromkeys(preemption(site, name, qos) for name, qos in places if name in known),
        *(nodes_left(site.partitions[name]) for name in known),
    ]


def accounting(site: Site) -> Finding:
    """Whether accounting answers, with ends and usage of jobs."""
    if site.accounting:
        return Finding(
            "cluster",
            "warn",
            f"accounting does not answer: {site.accounting}",
            "runs work without it, as markers on disk are the state; but GPU hours, limits of "
            "accounts and the causes of some failures are unknown",
            "none if the site has no accounting; else ask its admins about the accounting daemon",
        )
    limits = "limits" in site.enforced
    rule = "enforces" if limits else "does not enforce"
    return Finding(
        "cluster",
        "good",
        f"accounting answers; the controller {rule} the limits of accounts and QOS",
        "GPU hours and causes of failures are available",
    )


def requeue(site: Site) -> Finding:
    """Whether preempted jobs are requeued."""
    usual = "by default" if site.requeues else "only with --requeue (JobRequeue=0)"
    return Finding(
        "cluster",
        "good",
        f"jobs are requeued {usual}; workers request it",
        "a worker that lost its node is requeued and resumes; one that is not requeued is "
        "resubmitted by the gate",
    )


def signals(site: Site) -> Finding:
    """Whether signals reach every process of a job."""
    if site.tracks_by not in TRACKS_ALL:
        return Finding(
            "cluster",
            "warn",
            f"processes are tracked by {site.tracks_by or 'nothing'!r}",
            "a process that starts its own session may outlive its job and keep a GPU; its late "
            "writes are refused, but its memory stays in use until it ends",
            "ask the admins for proctrack/cgroup; `nvidia-smi` on the node shows such processes",
        )
    return Finding(
        "cluster",
        "good",
        f"processes are tracked by {site.tracks_by}; {site.kill_wait_s} s from SIGTERM to SIGKILL",
        "no process outlives its job; results not written in that time are recomputed",
    )


def qos_in(site: Site, kind: JobShape, partition: str) -> str:
    """The QOS of a kind of job in a partition; "" if there is none."""
    options = kind.asked.options
    own = site.association(options.get("account", ""), partition)
    return site.qos_of(options.get("qos", ""), own)


def mode_of(site: Site, partition: str, qos: str) -> tuple[str, str, int]:
    """Owner, mode and grace time in seconds of the preemption rule for a partition and QOS."""
    if site.preempts_by != "qos":
        one = site.partitions[partition]
        return f"partition {partition}", one.preempt_mode, one.grace_s
    own = site.qos.get(qos, Qos(Limits(f"QOS {qos}")))
    if not any(qos in other.preempts for other in site.qos.values()):
        return f"QOS {qos}", "OFF", 0
    mode = site.preempt_mode if own.preempt_mode in ("", "CLUSTER") else own.preempt_mode
    return f"QOS {qos}", mode, own.grace_s


def preemption(site: Site, partition: str, qos: str) -> Finding:
    """How jobs of a partition and QOS are preempted."""
    whose, mode, grace_s = mode_of(site, partition, qos)
    state: State = "good"
    fix = ""
    if site.preempts_by == "none" or mode in ("OFF", "DISABLED"):
        message, why = "jobs are not preempted", "a worker keeps its node until its time limit"
    elif "SUSPEND" in mode or "GANG" in mode:
        state = "warn"
        message = f"preempted jobs are suspended ({mode})"
        why = "their memory stays in use, timeouts keep running, and ranks may lose each other"
        fix = "use a partition or QOS that requeues: options.partition, options.qos"
    else:
        warning_signal = "the job's own signal" if site.sends_user_signal else "SIGTERM"
        warning = f"{grace_s} s after {warning_signal}" if grace_s else "without warning"
        message = f"preempted jobs end {warning} ({mode})"
        why = "rows are on disk after 30 s (commit_interval_s), so little is recomputed"
        if "CANCEL" in mode:
            state, why = "warn", f"{why}; they are not requeued, so the gate resubmits them"
            fix = "use a partition or QOS that requeues, or accept a wait after each preemption"
        elif not grace_s:
            why += "; a training resumes from its last checkpoint"
    return Finding("cluster", state, f"{whose}: {message}", why, fix)


def nodes_left(partition: Partition) -> Finding:
    """How many nodes of a partition can run jobs."""
    total = sum(kind.nodes for kind in partition.kinds)
    usable = sum(kind.usable for kind in partition.kinds)
    state: State = "good" if usable * 2 >= total and usable else "warn"
    if partition.state == "DOWN":
        # Jobs are accepted and wait, as if all nodes were down.
        state = "warn"
    elif partition.state != "UP":
        state = "error"
    return Finding(
        "cluster",
        state,
        f"partition {partition.name} is {partition.state}: {usable} of {total} nodes are in use "
        "or free",
        "jobs start only in a partition that is UP, on nodes that are not down or drained",
        "" if state == "good" else "choose another partition (`sinfo -s` lists them), or wait",
    )
