"""Asks a cluster what it allows, with a handful of SLURM's commands; nothing is submitted."""

import os
import pwd
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hala_hpc.backends.slurm import parsing
from hala_hpc.backends.slurm.client import ask, split_rows
from hala_hpc.backends.slurm.cluster import (
    MOST_PARENTS,
    Association,
    Limits,
    NodeKind,
    Partition,
    Qos,
    Site,
)
from hala_hpc.backends.slurm.node_states import is_usable
from hala_hpc.core.errors import Retry, SchedulerUnavailable

QOS_WORDS = (
    "Name,Preempt,PreemptMode,GraceTime,MaxWall,MaxSubmitPU,MaxSubmitPA,MaxJobsPU,MaxTRES,"
    "MaxTRESPU,MaxTRESPA,GrpTRES"
)


def read_site() -> Site:
    """Ask the cluster. Raises SchedulerUnavailable when its controller does not answer."""
    done = ask("scontrol", "show", "config")
    config = parsing.settings(done.stdout)
    if done.returncode or "MaxArraySize" not in config:
        raise SchedulerUnavailable(
            f"`scontrol show config`: {(done.stderr or done.stdout).strip()}"
        )
    site = site_of(config, read_partitions())
    return with_accounts(site) if not site.accounting else site


def site_of(config: dict[str, str], partitions: dict[str, Partition]) -> Site:
    """The site without its accounts, from `scontrol show config`."""
    said = " ".join(value for key, value in config.items() if key.endswith("Parameters"))
    absent = "" if "slurmdbd" in config.get("AccountingStorageType", "") else "there is none"
    return Site(
        cluster=config.get("ClusterName", ""),
        version=config.get("SLURM_VERSION", ""),
        max_array_size=int(config["MaxArraySize"]),
        requeues=config.get("JobRequeue") != "0",
        preempts_by=config.get("PreemptType", "none").rpartition("/")[2],
        preempt_mode=config.get("PreemptMode", "OFF"),
        sends_user_signal="preempt_send_user_signal" in said,
        kill_wait_s=parsing.count(config.get("KillWait", "")) or 0,
        tracks_by=config.get("ProctrackType", "").rpartition("/")[2],
        enforced=parsing.names(config.get("AccountingStorageEnforce", "")),
        accounting=absent or ("" if shutil.which("sacctmgr") else "no `sacctmgr` on the PATH"),
        partitions=partitions,
    )


def read_partitions() -> dict[str, Partition]:
    """Every partition with its kinds of nodes."""
    lines = ask("scontrol", "show", "partition", "--oneliner").stdout.splitlines()
    kinds = read_kinds()
    found = [partition_of(parsing.pairs(line)) for line in lines if "PartitionName=" in line]
    return {one.name: replace(one, kinds=tuple(kinds.get(one.name, ()))) for one in found}


def partition_of(said: dict[str, str]) -> Partition:
    """A partition from the words of `scontrol show partition`."""
    return Partition(
        name=said["PartitionName"],
        is_default=said.get("Default") == "YES",
        state=said.get("State", ""),
        max_time_min=parsing.minutes(said.get("MaxTime", "")),
        max_nodes=parsing.count(said.get("MaxNodes", "")),
        max_cpus_per_node=parsing.count(said.get("MaxCPUsPerNode", "")),
        max_memory_mb=parsing.megabytes(said.get("MaxMemPerNode", "")),
        grace_s=parsing.count(said.get("GraceTime", "")) or 0,
        preempt_mode=said.get("PreemptMode", ""),
        qos="" if parsing.is_nothing(said.get("QoS", "")) else said["QoS"],
        allow_groups=parsing.names(said.get("AllowGroups", "")),
        allow_accounts=parsing.names(said.get("AllowAccounts", "")),
        deny_accounts=parsing.names(said.get("DenyAccounts", "")),
        allow_qos=parsing.names(said.get("AllowQos", "")),
        deny_qos=parsing.names(said.get("DenyQos", "")),
    )


def read_kinds() -> dict[str, list[NodeKind]]:
    """Kinds of nodes by partition, each counted once whatever the states of its nodes."""
    rows = ask("sinfo", "--noheader", "--exact", "--format=%R|%c|%m|%G|%f|%t|%D").stdout
    found: dict[tuple[str, ...], list[int]] = {}
    for row in rows.splitlines():
        *kind, state, nodes = row.strip().split("|")
        counts = found.setdefault(tuple(kind), [0, 0])
        counts[0] += int(nodes)
        counts[1] += int(nodes) if is_usable(state) else 0
    kinds: dict[str, list[NodeKind]] = {}
    for (partition, cpus, memory, gres, features), (total, usable) in found.items():
        one = NodeKind(
            parsing.count(cpus) or 0,
            parsing.count(memory) or 0,
            parsing.gpus(gres),
            parsing.names(features),
            total,
            usable,
        )
        kinds.setdefault(partition, []).append(one)
    return kinds


def with_accounts(site: Site) -> Site:
    """The site with what accounting tells of this user; says so where it does not answer."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    words = "Account,Partition,QOS,DefaultQOS,MaxWall,MaxSubmit,MaxJobs,MaxTRES,GrpTRES"
    try:
        # Each takes a quarter of a second, mostly of waiting.
        with ThreadPoolExecutor() as pool:
            users = pool.submit(manager, "user", f"name={user}", "DefaultAccount")
            places = pool.submit(manager, "assoc", f"user={user}", words, site.cluster)
            all_qos = pool.submit(manager, "qos", "", QOS_WORDS)
            own = tuple(association_of(row, user) for row in places.result())
            accounts = read_accounts(sorted({one.account for one in own}), site.cluster)
            qos = {row[0]: qos_of(row) for row in all_qos.result()}
            default = "".join(row[0] for row in users.result())
    except Retry as error:
        return replace(site, accounting=str(error))
    return replace(site, default_account=default, associations=own, accounts=accounts, qos=qos)


def manager(thing: str, which: str, words: str, cluster: str = "") -> list[list[str]]:
    """Rows of `sacctmgr show`. Raises SchedulerUnavailable without the accounting daemon."""
    where = [word for word in (which, f"cluster={cluster}" if cluster else "") if word]
    done = ask("sacctmgr", "-nP", "show", thing, *where, f"format={words}")
    if done.returncode:
        told = re.sub(r"\s+", " ", done.stderr or done.stdout).strip()
        raise SchedulerUnavailable(f"`sacctmgr`: {told}")
    return [line.split("|") for line in done.stdout.splitlines() if "|" in line or line.strip()]


def association_of(row: list[str], user: str) -> Association:
    """A row about a user in an account; the account's own limits are inherited there."""
    account, partition, qos, default_qos, wall, submit, jobs, per_job, at_once = row
    limits = limits_of(f"user {user} in account {account}", wall, submit, jobs)
    limits = replace(limits, per_job=parsing.devices(per_job), at_once=parsing.devices(at_once))
    return Association(account, partition, parsing.names(qos), default_qos, limits)


def read_accounts(wanted: list[str], cluster: str) -> dict[str, tuple[Limits, str]]:
    """Limits of some accounts as wholes, and of those above them."""
    found: dict[str, tuple[Limits, str]] = {}
    words = "Account,User,ParentName,GrpSubmit,GrpJobs,GrpTRES"
    for _ in range(MOST_PARENTS):
        if not wanted:
            break
        for account, user, parent, submit, jobs, at_once in manager(
            "assoc", f"account={','.join(wanted)}", words, cluster
        ):
            if not user:
                limits = limits_of(f"account {account}", "", submit, jobs)
                found[account] = replace(limits, at_once=parsing.devices(at_once)), parent
        above = {parent for _, parent in found.values() if parent}
        wanted = sorted(above - found.keys())
    return found


def qos_of(row: list[str]) -> Qos:
    """A row about a QOS; of several limits on one thing the least counts."""
    name, preempts, mode, grace, wall, submit, submit_account, jobs, per_job, *at_once = row
    limits = limits_of(f"QOS {name}", wall, submit or submit_account, jobs)
    together: dict[str, int] = {}
    for text in at_once:
        for key, value in parsing.devices(text).items():
            together[key] = min(value, together.get(key, value))
    limits = replace(limits, per_job=parsing.devices(per_job), at_once=together)
    return Qos(limits, parsing.names(preempts), mode.upper(), parsing.seconds(grace))


def limits_of(owner: str, wall: str, submit: str, jobs: str) -> Limits:
    """Limits on time and numbers of jobs."""
    return Limits(owner, parsing.minutes(wall), parsing.count(submit), parsing.count(jobs))


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
        (parsing.megabytes(row[0].rstrip("+")) or 0 for row in split_rows(nodes.stdout)), default=0
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
