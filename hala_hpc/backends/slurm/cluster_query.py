"""Query the configuration of a cluster with a few SLURM commands; submits nothing."""

import os
import pwd
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hala_hpc.backends.slurm import parsing
from hala_hpc.backends.slurm.client import run_slurm, split_rows
from hala_hpc.backends.slurm.cluster import (
    MAX_PARENTS,
    Association,
    Limits,
    NodeKind,
    Partition,
    Qos,
    Site,
)
from hala_hpc.backends.slurm.node_states import is_usable
from hala_hpc.core.errors import SchedulerUnavailable, TransientError

QOS_FIELDS = (
    "Name,Preempt,PreemptMode,GraceTime,MaxWall,MaxSubmitPU,MaxSubmitPA,MaxJobsPU,MaxTRES,"
    "MaxTRESPU,MaxTRESPA,GrpTRES"
)


def read_site() -> Site:
    """Query the configuration of the cluster.

    Raises: SchedulerUnavailable if its controller does not answer.
    """
    done = run_slurm("scontrol", "show", "config")
    config = parsing.parse_config(done.stdout)
    if done.returncode or "MaxArraySize" not in config:
        raise SchedulerUnavailable(
            f"`scontrol show config`: {(done.stderr or done.stdout).strip()}"
        )
    site = parse_site(config, read_partitions())
    return add_accounts(site) if not site.accounting else site


def parse_site(config: dict[str, str], partitions: dict[str, Partition]) -> Site:
    """Parse `scontrol show config` into a site without accounts."""
    parameters = " ".join(value for key, value in config.items() if key.endswith("Parameters"))
    absent = "" if "slurmdbd" in config.get("AccountingStorageType", "") else "not configured"
    return Site(
        cluster=config.get("ClusterName", ""),
        version=config.get("SLURM_VERSION", ""),
        max_array_size=int(config["MaxArraySize"]),
        requeues=config.get("JobRequeue") != "0",
        preempts_by=config.get("PreemptType", "none").rpartition("/")[2],
        preempt_mode=config.get("PreemptMode", "OFF"),
        sends_user_signal="preempt_send_user_signal" in parameters,
        kill_wait_s=parsing.parse_count(config.get("KillWait", "")) or 0,
        tracks_by=config.get("ProctrackType", "").rpartition("/")[2],
        enforced=parsing.parse_list(config.get("AccountingStorageEnforce", "")),
        accounting=absent or ("" if shutil.which("sacctmgr") else "no `sacctmgr` on the PATH"),
        partitions=partitions,
    )


def read_partitions() -> dict[str, Partition]:
    """Query every partition with its kinds of nodes."""
    lines = run_slurm("scontrol", "show", "partition", "--oneliner").stdout.splitlines()
    kinds = read_kinds()
    found = [
        parse_partition(parsing.parse_pairs(line)) for line in lines if "PartitionName=" in line
    ]
    return {one.name: replace(one, kinds=tuple(kinds.get(one.name, ()))) for one in found}


def parse_partition(fields: dict[str, str]) -> Partition:
    """Convert the fields of `scontrol show partition` into a partition."""
    return Partition(
        name=fields["PartitionName"],
        is_default=fields.get("Default") == "YES",
        state=fields.get("State", ""),
        max_time_min=parsing.parse_minutes(fields.get("MaxTime", "")),
        max_nodes=parsing.parse_count(fields.get("MaxNodes", "")),
        max_cpus_per_node=parsing.parse_count(fields.get("MaxCPUsPerNode", "")),
        max_memory_mb=parsing.parse_megabytes(fields.get("MaxMemPerNode", "")),
        grace_s=parsing.parse_count(fields.get("GraceTime", "")) or 0,
        preempt_mode=fields.get("PreemptMode", ""),
        qos="" if parsing.is_unset(fields.get("QoS", "")) else fields["QoS"],
        allow_groups=parsing.parse_list(fields.get("AllowGroups", "")),
        allow_accounts=parsing.parse_list(fields.get("AllowAccounts", "")),
        deny_accounts=parsing.parse_list(fields.get("DenyAccounts", "")),
        allow_qos=parsing.parse_list(fields.get("AllowQos", "")),
        deny_qos=parsing.parse_list(fields.get("DenyQos", "")),
    )


def read_kinds() -> dict[str, list[NodeKind]]:
    """Query the kinds of nodes by partition; each is listed once, whatever its nodes' states."""
    rows = run_slurm("sinfo", "--noheader", "--exact", "--format=%R|%c|%m|%G|%f|%t|%D").stdout
    found: dict[tuple[str, ...], list[int]] = {}
    for row in rows.splitlines():
        *kind, state, nodes = row.strip().split("|")
        counts = found.setdefault(tuple(kind), [0, 0])
        counts[0] += int(nodes)
        counts[1] += int(nodes) if is_usable(state) else 0
    kinds: dict[str, list[NodeKind]] = {}
    for (partition, cpus, memory, gres, features), (total, usable) in found.items():
        one = NodeKind(
            parsing.parse_count(cpus) or 0,
            parsing.parse_count(memory) or 0,
            parsing.parse_gres_gpus(gres),
            parsing.parse_list(features),
            total,
            usable,
        )
        kinds.setdefault(partition, []).append(one)
    return kinds


def add_accounts(site: Site) -> Site:
    """Add accounts, associations and QOS of this user; `accounting` has the error if that fails."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    fields = "Account,Partition,QOS,DefaultQOS,MaxWall,MaxSubmit,MaxJobs,MaxTRES,GrpTRES"
    try:
        # Each query takes 0.25 s, mostly of waiting.
        with ThreadPoolExecutor() as pool:
            users = pool.submit(run_sacctmgr, "user", f"name={user}", "DefaultAccount")
            places = pool.submit(run_sacctmgr, "assoc", f"user={user}", fields, site.cluster)
            all_qos = pool.submit(run_sacctmgr, "qos", "", QOS_FIELDS)
            own = tuple(association_of(row, user) for row in places.result())
            accounts = read_accounts(sorted({one.account for one in own}), site.cluster)
            qos = {row[0]: qos_of(row) for row in all_qos.result()}
            default = "".join(row[0] for row in users.result())
    except TransientError as error:
        return replace(site, accounting=str(error))
    return replace(site, default_account=default, associations=own, accounts=accounts, qos=qos)


def run_sacctmgr(thing: str, which: str, fields: str, cluster: str = "") -> list[list[str]]:
    """Rows of `sacctmgr show`.

    Raises: SchedulerUnavailable if the accounting daemon does not answer.
    """
    where = [
        condition for condition in (which, f"cluster={cluster}" if cluster else "") if condition
    ]
    done = run_slurm("sacctmgr", "-nP", "show", thing, *where, f"format={fields}")
    if done.returncode:
        message = re.sub(r"\s+", " ", done.stderr or done.stdout).strip()
        raise SchedulerUnavailable(f"`sacctmgr`: {message}")
    return [line.split("|") for line in done.stdout.splitlines() if "|" in line or line.strip()]


def association_of(row: list[str], user: str) -> Association:
    """Parse an association of a user, which includes limits inherited from the account."""
    account, partition, qos, default_qos, wall, submit, jobs, per_job, max_running = row
    limits = limits_of(f"user {user} in account {account}", wall, submit, jobs)
    limits = replace(
        limits, per_job=parsing.parse_tres(per_job), max_running=parsing.parse_tres(max_running)
    )
    return Association(account, partition, parsing.parse_list(qos), default_qos, limits)


def read_accounts(wanted: list[str], cluster: str) -> dict[str, tuple[Limits, str]]:
    """Query the limits of some accounts as a whole, and of their parents."""
    found: dict[str, tuple[Limits, str]] = {}
    fields = "Account,User,ParentName,GrpSubmit,GrpJobs,GrpTRES"
    for _ in range(MAX_PARENTS):
        if not wanted:
            break
        for account, user, parent, submit, jobs, max_running in run_sacctmgr(
            "assoc", f"account={','.join(wanted)}", fields, cluster
        ):
            if not user:
                limits = limits_of(f"account {account}", "", submit, jobs)
                found[account] = (
                    replace(limits, max_running=parsing.parse_tres(max_running)),
                    parent,
                )
        above = {parent for _, parent in found.values() if parent}
        wanted = sorted(above - found.keys())
    return found


def qos_of(row: list[str]) -> Qos:
    """Parse a row about a QOS; of several limits on one resource the minimum is used."""
    name, preempts, mode, grace, wall, submit, submit_account, jobs, per_job, *max_running = row
    limits = limits_of(f"QOS {name}", wall, submit or submit_account, jobs)
    together: dict[str, int] = {}
    for text in max_running:
        for key, value in parsing.parse_tres(text).items():
            together[key] = min(value, together.get(key, value))
    limits = replace(limits, per_job=parsing.parse_tres(per_job), max_running=together)
    return Qos(limits, parsing.parse_list(preempts), mode.upper(), parsing.parse_seconds(grace))


def limits_of(owner: str, wall: str, submit: str, jobs: str) -> Limits:
    """Parse limits on time and numbers of jobs."""
    return Limits(
        owner, parsing.parse_minutes(wall), parsing.parse_count(submit), parsing.parse_count(jobs)
    )


def query_memory_limit_gb(options: Mapping[str, str]) -> int | None:
    """Maximum memory in GB that a job with these options can request on one node.

    The minimum of the largest node of its partitions and of their MaxMemPerNode; None if unknown.
    """
    asked = options.get("partition", "")
    arguments = ("--noheader", *((f"--partition={asked}",) if asked else ()))
    try:
        # %m is the memory of a node in MB; a trailing `+` means that other nodes have more.
        nodes = run_slurm("sinfo", *arguments, "--Node", "--format=%m")
        listed = run_slurm("scontrol", "show", "partition", "--oneliner").stdout
    except TransientError:
        return None
    largest = max(
        (parsing.parse_megabytes(row[0].rstrip("+")) or 0 for row in split_rows(nodes.stdout)),
        default=0,
    )
    limits = [
        int(found[2])
        for line in listed.splitlines()
        if (found := re.search(r"PartitionName=(\S+).* MaxMemPerNode=(\d+)", line))
        and (not asked or found[1] in asked.split(","))
    ]
    if not largest:
        return None
    return min([largest, *([max(limits)] if asked and limits else [])]) // 1024
