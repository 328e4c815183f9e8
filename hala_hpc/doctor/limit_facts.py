"""What accounts and QOS allow, against what jobs ask for."""

from collections.abc import Iterator

from hala_hpc.backends.slurm.cluster import Limits, Site
from hala_hpc.doctor.findings import Finding, State
from hala_hpc.doctor.scope import JobKind

#: A gate waits beside the workers of a node.
GATES = 1
#: Words of a launcher for what a limit counts.
WORDS = {"cpu": "cpus_per_rank", "mem": "mem_gb", "node": "nodes", "gres/gpu": "gpus_per_node"}


def by_limits(site: Site, kind: JobKind, limits: Limits) -> Iterator[Finding]:
    """What an account or QOS allows, against one job and against all workers of a node."""
    asked, whose = kind.asked, limits.owner
    state: State = "bad" if "limits" in site.enforced else "warn"
    if limits.max_wall_min is not None and asked.timeout_min > limits.max_wall_min:
        yield bad(
            f"timeout_min={asked.timeout_min}, but {whose} allows {limits.max_wall_min}",
            f"set timeout_min={limits.max_wall_min}, or name another options.qos",
            state,
        )
    for name, value in kind.totals.items():
        limit = min(limits.per_job.get(name, value), limits.at_once.get(name, value))
        if value > limit:
            word = WORDS.get(name.rpartition(":")[0] or name, name)
            what = f"a job takes {name}={value}, but {whose} allows {limit}"
            yield bad(what, f"ask for less with {word}, or name another options.qos", state)
    if limits.max_submit is not None and kind.workers + GATES > limits.max_submit:
        yield Finding(
            "jobs",
            "good",
            f"{kind.workers} workers and a gate, but {whose} may have "
            f"{limits.max_submit} jobs waiting and running",
            "as many are submitted as fit, each for more units, and nodes that do not fit follow",
        )
    at_once = at_once_of(kind, limits)
    if at_once < kind.workers:
        yield Finding(
            "jobs",
            "good",
            f"{at_once} of {kind.workers} workers run at once under the limits of {whose}",
            "the others wait for them; the result is the same",
        )


def at_once_of(kind: JobKind, limits: Limits) -> int:
    """How many workers the limits of an account or QOS let run at the same time."""
    totals = kind.totals
    counts = [limit // totals[name] for name, limit in limits.at_once.items() if totals.get(name)]
    jobs = limits.max_jobs if limits.max_jobs is not None else kind.workers
    return max(1, min([kind.workers, jobs, *counts]))


def bad(what: str, cure: str, state: State = "bad") -> Finding:
    """A request that SLURM would refuse or hold for ever, or would if it applied its limits."""
    why = (
        "SLURM refuses such a job, or lets it wait for ever"
        if state == "bad"
        else "the controller does not apply this limit now; it may one day"
    )
    return Finding("jobs", state, what, why, cure)
