"""States of nodes: where a job may run now, which have recovered, how many may be excluded.

Queried when a round has ended and when SLURM refuses a job; nothing is cached.
"""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hala_hpc.backends.slurm.client import run_slurm, split_rows
from hala_hpc.backends.slurm.parsing import (
    expand_hosts,
    parse_config,
    parse_count,
    parse_gres_gpus,
    parse_list,
    parse_megabytes,
    parse_pairs,
)
from hala_hpc.core.errors import TransientError
from hala_hpc.core.records import ExcludedNode
from hala_hpc.core.resources import Resources

#: Node states in which a job may start now or later, as sinfo abbreviates them.
USABLE = ("idle", "mix", "alloc", "comp", "plnd", "resv", "pow")
#: States of a healthy node, as scontrol writes them.
HEALTHY = ("IDLE", "MIXED", "ALLOCATED")
#: Flags besides one of these states: the node gets no jobs, or does not answer.
UNHEALTHY = ("DRAIN", "FAIL", "NOT_RESPONDING", "MAINT", "REBOOT", "INVAL", "DOWN")
#: Maximum share of a partition's nodes that may be excluded: if more are bad, the cause is not a
#: node, and a job that excludes most nodes of a partition does not start.
MAX_EXCLUDED_SHARE = 0.5
#: Seconds after its start by which all nodes have registered with a controller.
FRESH_CONTROLLER_S = 60


@dataclass(frozen=True)
class CandidateNodes:
    """The nodes from which SLURM may choose for a job, by the job's options."""

    all_nodes: int
    """Number of nodes of its partitions."""
    usable: Mapping[str, bool]
    """Nodes that its options allow, and whether a job may start there now or later."""

    @property
    def is_away(self) -> bool:
        """Whether there are nodes and none is up; they may come back."""
        return bool(self.usable) and not any(self.usable.values())

    def max_excluded(self, needed: int = 1) -> int:
        """How many of the nodes a job that needs `needed` nodes may exclude."""
        share = max(1, int(self.all_nodes * MAX_EXCLUDED_SHARE))
        return max(0, min(share, len(self.usable) - needed))


@dataclass(frozen=True)
class NodeSize:
    """Resources of one node, and whether a job may start there now or later."""

    name: str
    is_usable: bool
    cpus: int
    memory_mb: int
    gpus: Mapping[str, int]
    """Number by type; the type is "" if untyped."""
    features: tuple[str, ...]

    def fits(self, asked: Resources) -> bool:
        """Whether the node is large enough to be one of a job's nodes."""
        options, kind = asked.options, asked.options.get("gpu_type", "")
        memory = options.get("mem")
        memory_mb = asked.mem_gb * 1024 if memory is None else parse_megabytes(memory) or 0
        feature = options.get("constraint", "")
        return (
            self.cpus >= asked.ranks_per_node * asked.cpus_per_rank
            and self.memory_mb >= memory_mb
            and (self.gpus.get(kind, 0) if kind else sum(self.gpus.values())) >= asked.gpus_per_node
            # Only SLURM evaluates an expression of several features.
            and (not re.fullmatch(r"[\w.-]+", feature) or feature in self.features)
        )


def is_usable(state: str) -> bool:
    """Whether a job may start on a node now or later, by its state in sinfo's abbreviation."""
    return state.startswith(USABLE) and not state.endswith("*")


def find_candidate_nodes(options: Mapping[str, str]) -> CandidateNodes:
    """Find the nodes for a job with these options.

    Raises: SchedulerUnavailable if SLURM does not answer.
    """
    states = query_node_states(options.get("partition", ""))
    named, excluded = (
        expand_hosts(options.get("nodelist", "")),
        expand_hosts(options.get("exclude", "")),
    )
    left = {
        name: is_usable(state)
        for name, state in states.items()
        if name not in excluded and (not named or name in named)
    }
    return CandidateNodes(len(states), left)


def lacks_nodes_now(asked: Resources) -> bool:
    """Whether a job only lacks nodes that are down now: enough nodes are large enough for it.

    Decided by the states of nodes, not by the error of sbatch. That is the same for nodes that are
    down and for nodes that do not exist.

    Raises: SchedulerUnavailable if SLURM does not answer.
    """
    options = asked.options
    named, excluded = (
        expand_hosts(options.get("nodelist", "")),
        expand_hosts(options.get("exclude", "")),
    )
    fitting = {
        node.name: node.is_usable
        for node in query_node_sizes(options.get("partition", ""))
        if node.fits(asked) and node.name not in excluded and (not named or node.name in named)
    }
    return len(fitting) >= asked.nodes > sum(fitting.values())


def query_node_sizes(partitions: str) -> Iterator[NodeSize]:
    """Query every node of some partitions, or of the default one; a node in two is listed twice."""
    arguments = ("--noheader", "--Node", "--exact", "--format=%P|%N|%t|%c|%m|%G|%f")
    asked = partitions.split(",") if partitions else []
    for row in split_rows(run_slurm("sinfo", *arguments).stdout):
        if len(row) != 7:
            continue
        place, name, state, cpus, memory, gres, features = row
        if place.rstrip("*") in asked if asked else place.endswith("*"):
            yield NodeSize(
                name,
                is_usable(state),
                parse_count(cpus) or 0,
                parse_count(memory) or 0,
                parse_gres_gpus(gres),
                parse_list(features),
            )


def closed_partitions(partitions: str) -> tuple[str, ...]:
    """Names of some partitions, or of the default one, if all of them are DOWN; else empty.

    A DOWN partition accepts jobs but starts none. One that accepts none refuses them itself.

    Raises: SchedulerUnavailable if SLURM does not answer.
    """
    rows = split_rows(run_slurm("sinfo", "--noheader", "--summarize", "--format=%P|%a").stdout)
    asked = partitions.split(",") if partitions else []
    states = {
        row[0].rstrip("*"): row[1]
        for row in rows
        if len(row) == 2 and (row[0].rstrip("*") in asked if asked else row[0].endswith("*"))
    }
    is_closed = bool(states) and all(state == "down" for state in states.values())
    return tuple(states) if is_closed else ()


def query_node_states(partitions: str) -> dict[str, str]:
    """Query the state of every node of some partitions, or of the default one if none is named."""
    rows = split_rows(run_slurm("sinfo", "--noheader", "--Node", "--format=%P|%N|%t").stdout)
    asked = partitions.split(",") if partitions else []
    return {
        row[1]: row[2]
        for row in rows
        if len(row) == 3 and (row[0].rstrip("*") in asked if asked else row[0].endswith("*"))
    }


def find_recovered_nodes(nodes: Sequence[ExcludedNode]) -> tuple[str, ...]:
    """Names of excluded nodes that SLURM reports healthy again.

    If the job, and not SLURM, found the node bad, it must have rebooted since: its state does not
    show the health of a GPU.

    Raises: SchedulerUnavailable if SLURM does not answer.
    """
    if not nodes:
        return ()
    listed = ",".join(node.name for node in nodes)
    booted = dict(
        parse_healthy_nodes(run_slurm("scontrol", "show", "node", "--oneliner", listed).stdout)
    )
    return tuple(
        node.name
        for node in nodes
        if node.name in booted and (not node.until_boot or booted[node.name] > node.since)
    )


def parse_healthy_nodes(text: str) -> Iterator[tuple[str, float]]:
    """Parse healthy nodes and their boot times from `scontrol show node --oneliner`."""
    for fields in map(parse_pairs, text.splitlines()):
        first, *flags = fields.get("State", "").split("+")
        is_healthy = re.sub(r"\W+$", "", first) in HEALTHY and "*" not in first
        if is_healthy and not any(flag.startswith(UNHEALTHY) for flag in flags):
            yield fields.get("NodeName", ""), parse_boot_time(fields.get("BootTime", ""))


def controller_just_started() -> bool:
    """Whether SLURM's controller started within the last minute, as after a crash.

    Its nodes then register one after the other. Until then it refuses jobs whose nodes sinfo
    already shows.

    Raises: SchedulerUnavailable if SLURM does not answer.
    """
    config = parse_config(run_slurm("scontrol", "show", "config").stdout)
    return time.time() - parse_boot_time(config.get("BOOT_TIME", "")) < FRESH_CONTROLLER_S


def parse_boot_time(text: str) -> float:
    """Convert `2026-11-30T08:00:00` to seconds since the epoch; 0.0 if unknown."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0


def exclude_node_for_pending(job: str, node: str) -> None:
    """Exclude a node for the pending tasks of an array.

    A node that fails at once would take one task after the other. Does nothing if SLURM does not
    answer, or if the maximum number of nodes is excluded: the next round decides then.
    """
    number = job.partition("_")[0]
    with contextlib.suppress(TransientError):
        arguments = ("--noheader", "--states=PENDING", f"--jobs={number}", "--format=%P|%D|%x")
        waiting = split_rows(run_slurm("squeue", *arguments).stdout)
        before = {name for row in waiting for name in expand_hosts(row[2])}
        if waiting and node not in before:
            candidates = find_candidate_nodes({"partition": waiting[0][0]})
            if candidates.all_nodes and len(before) >= candidates.max_excluded(
                parse_count(waiting[0][1]) or 1
            ):
                return
            excluded = ",".join(sorted({*before, node}))
            # scontrol reports failure if a task of the array runs, but changes the pending tasks.
            run_slurm("scontrol", "update", f"JobId={number}", f"ExcNodeList={excluded}")
