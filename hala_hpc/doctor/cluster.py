"""What a SLURM cluster says to the jobs of a visit; none is submitted."""

from collections.abc import Iterator, Sequence

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.backends.slurm.cluster import TEST_ONLY
from hala_hpc.backends.slurm.cluster_query import read_site
from hala_hpc.core.errors import Retry
from hala_hpc.core.job import Job
from hala_hpc.doctor.cluster_facts import cluster_findings
from hala_hpc.doctor.findings import Finding
from hala_hpc.doctor.gpus import gpu_findings
from hala_hpc.doctor.limits import accepted, job_findings
from hala_hpc.doctor.scope import JobKind, Visit, kinds_of


def slurm_findings(visit: Visit, ask_each: bool) -> Iterator[Finding]:
    """What the cluster says; with `ask_each` also to one job of every kind that seems to fit."""
    problems = SlurmBackend().preflight()
    try:
        site = None if problems else read_site()
    except Retry as error:
        problems = [str(error)]
    why, cure = "no job can be asked for", "nothing else about the cluster is known until then"
    yield from (Finding("cluster", "bad", text, why, cure) for text in problems)
    if site is None:
        return
    kinds = kinds_of(visit.jobs())
    yield from cluster_findings(site, kinds)
    yield from job_findings(site, kinds)
    yield from gpu_findings(site, kinds, visit.fp8_nodes())
    if ask_each:
        yield from asked_of_slurm(visit, accepted(site, kinds))


def asked_of_slurm(visit: Visit, kinds: Sequence[JobKind]) -> Iterator[Finding]:
    """What `--test-only` says to a job of each kind, in SLURM's words."""
    texts = SlurmBackend().preflight([job_of(visit, kind) for kind in kinds])
    why = "the launcher would be told the same"
    cure = "ask the admins with SLURM's words: no limit that can be read explains it"
    for text in texts:
        yield Finding("jobs", "bad", f"`{TEST_ONLY}`: {text}", why, cure)
    if kinds and not texts:
        what = f"`{TEST_ONLY}` takes a job of each of these kinds"
        yield Finding("jobs", "good", what, "the launcher's jobs are not refused")


def job_of(visit: Visit, kind: JobKind) -> Job:
    """A job of a kind, as the launcher would hand it in."""
    return Job(
        name=f"doctor-{kind.names[0]}"[:64],
        module="hala_hpc.worker",
        words=(str(visit.work),),
        elements=kind.workers,
        python=visit.launcher.python_of("main"),
        resources=kind.asked,
        folder=visit.work / "doctor",
        environment=visit.launcher.environment,
        setup=visit.launcher.setup,
    )
