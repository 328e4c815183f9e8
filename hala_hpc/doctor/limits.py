"""Check the jobs of a launcher against the limits of the cluster, with value and fix for each."""

import grp
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from hala_hpc.backends.slurm.cluster import (
    SHOW_ACCOUNTS,
    SHOW_QOS,
    Limits,
    NodeKind,
    Partition,
    Site,
)
from hala_hpc.core.errors import suggest_name
from hala_hpc.doctor.findings import Finding, State, worst_state
from hala_hpc.doctor.scope import JobShape, shorten_names

#: Each node has one gate besides its workers.
GATES = 1
#: Launcher settings of the resources that limits count.
LIMITED_SETTINGS = {
    "cpu": "cpus_per_rank",
    "mem": "mem_gb",
    "node": "nodes",
    "gres/gpu": "gpus_per_node",
}


def job_findings(site: Site, kinds: Iterable[JobShape]) -> list[Finding]:
    """Findings about the jobs, or a good one for each kind; equal findings are merged."""
    found: dict[Finding, list[str]] = {}
    for kind in kinds:
        for finding in findings_of_kind(site, kind):
            found.setdefault(finding, []).extend(kind.names)
    return [
        replace(one, what=f"{shorten_names(names)}: {one.what}") for one, names in found.items()
    ]


def select_accepted(site: Site, kinds: Iterable[JobShape]) -> list[JobShape]:
    """Kinds of jobs without errors so far."""
    return [kind for kind in kinds if worst_state(findings_of_kind(site, kind)) != "error"]


def findings_of_kind(site: Site, kind: JobShape) -> Sequence[Finding]:
    """Findings about one kind of job, without its name."""
    wanted = kind.partitions(site)
    if not wanted:
        named = ", ".join(sorted(site.partitions))
        what = "no partition is set, and the cluster has no default one"
        return [limit_finding(what, f"set options.partition to one of: {named}")]
    # With several partitions SLURM uses any that fits, so the best one counts.
    tried = [[*in_partition(site, kind, name)] for name in wanted]
    found = min(tried, key=lambda one: sum(finding.state == "error" for finding in one))
    if worst_state(found) == "error":
        return found
    asked = kind.asked
    gpus = f", {asked.gpus_per_node} GPUs" if asked.gpus_per_node else ""
    what = (
        f"{asked.nodes} x ({kind.cpus_per_node} cores, {asked.mem_gb} GB{gpus}) for "
        f"{asked.timeout_min} min fits {', '.join(wanted)}"
    )
    return [Finding("jobs", "good", what, "SLURM can start it on existing nodes"), *found]


def in_partition(site: Site, kind: JobShape, name: str) -> Iterator[Finding]:
    """Findings that prevent a kind of job from running in a partition."""
    partition = site.partitions.get(name)
    if partition is None:
        near = suggest_name(name, list(site.partitions), "partitions")
        yield limit_finding(f"there is no partition {name!r}", f"{near} (options.partition)")
        return
    yield from by_account(site, kind, partition)
    yield from by_group(partition)
    yield from by_size(kind, partition)
    options = kind.asked.options
    for limits in site.limits(options.get("account", ""), options.get("qos", ""), name):
        yield from by_limits(site, kind, limits)
    if kind.workers > site.max_array_size:
        yield Finding(
            "jobs",
            "good",
            f"{kind.workers} workers, but an array has at most "
            f"{site.max_array_size} tasks (MaxArraySize)",
            "as many workers as fit are submitted, each for more units",
        )


def by_account(site: Site, kind: JobShape, partition: Partition) -> Iterator[Finding]:
    """Check account and QOS of a job in a partition."""
    options = kind.asked.options
    account = options.get("account", "") or site.default_account
    own = site.association(account, partition.name)
    qos = site.qos_of(options.get("qos", ""), own)
    state: State = "error" if "associations" in site.enforced else "warn"
    if not site.accounting and own is None:
        yield limit_finding(*missing_association(site, account, partition.name), state)
    elif own and qos and own.qos and qos not in own.qos:
        what = f"account {own.account} may not use QOS {qos!r}"
        fix = f"set options.qos to one of: {', '.join(own.qos)}; `{SHOW_QOS}` shows each"
        yield limit_finding(what, fix, "error" if "qos" in site.enforced else "warn")
    for option, value, allowed, denied in (
        ("account", account, partition.allow_accounts, partition.deny_accounts),
        ("qos", qos, partition.allow_qos, partition.deny_qos),
    ):
        if value and ((allowed and value not in allowed) or value in denied):
            others = ", ".join(allowed) or f"any but {', '.join(denied)}"
            what = f"partition {partition.name} does not take {option} {value!r}"
            yield limit_finding(
                what, f"it takes {others}: set options.{option}, or options.partition"
            )


def missing_association(site: Site, account: str, partition: str) -> tuple[str, str]:
    """Message and fix if accounting has no association of the user for a job there."""
    mine = ", ".join(sorted({one.account for one in site.associations}))
    if not mine:
        return (
            f"accounting has no account for you, also not for partition {partition}",
            f"ask the admins to add you to an account; then `{SHOW_ACCOUNTS}` lists yours",
        )
    fix = f"set options.account to one of: {mine}; `{SHOW_ACCOUNTS}` lists them"
    if not account:
        return f"no account is set for partition {partition}, and you have no default one", fix
    return f"account {account!r} is not yours in partition {partition}", fix


def by_group(partition: Partition) -> Iterator[Finding]:
    """Check the Unix groups of a partition; root is always allowed."""
    allowed = partition.allow_groups
    mine = {grp.getgrgid(number).gr_name for number in {os.getegid(), *os.getgroups()}}
    if allowed and not mine & set(allowed) and os.geteuid():
        what = f"partition {partition.name} is restricted to the groups {', '.join(allowed)}"
        yield limit_finding(
            what, "choose another partition, or ask the admins to add you to such a group"
        )


def by_size(kind: JobShape, partition: Partition) -> Iterator[Finding]:
    """Check time, nodes, cores, memory and GPUs against the partition and its nodes."""
    asked, where = kind.asked, f"partition {partition.name}"
    max_time_min, limit_setting = partition.max_time_min, kind.setting_name("timeout_min")
    if max_time_min is not None and asked.timeout_min > max_time_min:
        yield limit_finding(
            f"{limit_setting}={asked.timeout_min}, but {where} ends jobs after {max_time_min}",
            f"set {limit_setting}={max_time_min}; another job resumes what is not finished then",
        )
    if partition.max_nodes is not None and asked.nodes > partition.max_nodes:
        yield limit_finding(
            f"nodes={asked.nodes}, but {where} gives a job {partition.max_nodes}",
            "request fewer nodes, or choose another partition",
        )
    fitting = sum(one.nodes for one in partition.kinds if not too_small(kind, one))
    if partition.kinds and fitting < asked.nodes:
        shortest = min((too_small(kind, one) for one in partition.kinds), key=len)
        reason = (
            "; ".join(shortest) or f"only {fitting} nodes are large enough for nodes={asked.nodes}"
        )
        fix = (
            "request less in [node.<node>.resources] or [stage.<stage>.resources] of the launcher, "
            "or choose a partition with such nodes (`sinfo -o '%P %D %c %m %G %f'`)"
        )
        yield limit_finding(f"no nodes of {where} fit: {reason}", fix)
    for quantity, value, limit in (
        ("cores", kind.cpus_per_node, partition.max_cpus_per_node),
        ("MB of memory", kind.memory_mb, partition.max_memory_mb),
    ):
        if limit is not None and value > limit:
            what = f"{value} {quantity} on each node, but {where} gives {limit}"
            yield limit_finding(
                what, "request less (cpus_per_rank, mem_gb), or choose another partition"
            )


def too_small(kind: JobShape, nodes: NodeKind) -> list[str]:
    """Resources of which a kind of node has too little for a kind of job."""
    asked, faults = kind.asked, []
    gpu_type = asked.options.get("gpu_type", "")
    gpus = nodes.gpus.get(gpu_type, 0) if gpu_type else sum(nodes.gpus.values())
    if asked.gpus_per_node > gpus:
        there = ", ".join(f"{n} {name or 'untyped'}" for name, n in nodes.gpus.items()) or "none"
        wanted = f"{asked.gpus_per_node} GPUs{f' of type {gpu_type}' if gpu_type else ''}"
        faults.append(f"{wanted}, but such a node has {there}")
    if kind.cpus_per_node > nodes.cpus:
        faults.append(f"{kind.cpus_per_node} cores, but such a node has {nodes.cpus}")
    if kind.memory_mb > nodes.memory_mb:
        has_gb = nodes.memory_mb // 1024
        faults.append(f"{kind.memory_mb // 1024} GB of memory, but such a node has {has_gb} GB")
    feature = asked.options.get("constraint", "")
    if re.fullmatch(r"[\w.-]+", feature) and feature not in nodes.features:
        faults.append(f"constraint={feature}, but such a node has {', '.join(nodes.features)}")
    return faults


def by_limits(site: Site, kind: JobShape, limits: Limits) -> Iterator[Finding]:
    """Check one job and all workers of a node against the limits of an account or QOS."""
    asked, whose, limit_setting = kind.asked, limits.owner, kind.setting_name("timeout_min")
    state: State = "error" if "limits" in site.enforced else "warn"
    if limits.max_wall_min is not None and asked.timeout_min > limits.max_wall_min:
        yield limit_finding(
            f"{limit_setting}={asked.timeout_min}, but {whose} allows {limits.max_wall_min}",
            f"set {limit_setting}={limits.max_wall_min}, or choose another "
            f"{kind.setting_name('options.qos')}",
            state,
        )
    for name, value in kind.totals.items():
        limit = min(limits.per_job.get(name, value), limits.max_running.get(name, value))
        if value > limit:
            setting = LIMITED_SETTINGS.get(name.rpartition(":")[0] or name, name)
            what = f"a job takes {name}={value}, but {whose} allows {limit}"
            qos = kind.setting_name("options.qos")
            yield limit_finding(
                what,
                f"request less with {kind.setting_name(setting)}, or choose another {qos}",
                state,
            )
    if limits.max_submit is not None and kind.workers + GATES > limits.max_submit:
        yield Finding(
            "jobs",
            "good",
            f"{kind.workers} workers and a gate, but {whose} may have "
            f"{limits.max_submit} jobs waiting and running",
            "as many workers as fit are submitted, each for more units; other nodes follow later",
        )
    max_running = count_max_running(kind, limits)
    if max_running < kind.workers:
        yield Finding(
            "jobs",
            "good",
            f"{max_running} of {kind.workers} workers run at once under the limits of {whose}",
            "the others wait; the result is the same",
        )


def count_max_running(kind: JobShape, limits: Limits) -> int:
    """How many workers may run at once under the limits of an account or QOS."""
    totals = kind.totals
    counts = [
        limit // totals[name] for name, limit in limits.max_running.items() if totals.get(name)
    ]
    jobs = limits.max_jobs if limits.max_jobs is not None else kind.workers
    return max(1, min([kind.workers, jobs, *counts]))


def limit_finding(what: str, fix: str, state: State = "error") -> Finding:
    """Finding for a request that SLURM refuses or never starts, if it enforces its limits."""
    why = (
        "SLURM refuses such a job, or never starts it"
        if state == "error"
        else "the controller does not enforce this limit now, but may later"
    )
    return Finding("jobs", state, what, why, fix)
