"""States of nodes: where a job may run now, which are well again, how many may be left out.

Asked when a round has ended and when SLURM refuses a job; nothing is remembered.
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

#: States of a node on which a job may start now or later, as sinfo abbreviates them.
USABLE = ("idle", "mix", "alloc", "comp", "plnd", "resv", "pow")
#: States of a node that does its work, in the words of scontrol.
HEALTHY = ("IDLE", "MIXED", "ALLOCATED")
#: Beside one of them: the node gets no work, or does not answer.
UNHEALTHY = ("DRAIN", "FAIL", "NOT_RESPONDING", "MAINT", "REBOOT", "INVAL", "DOWN")
#: Nodes of a partition that may be left out at most: where more are bad, others than a node are to
#: blame, and a cluster that is asked for without most of its nodes gives none.
MAX_EXCLUDED_SHARE = 0.5
#: A controller has seen all of its nodes so many seconds after its start.
FRESH_CONTROLLER_S = 60


@dataclass(frozen=True)
class CandidateNodes:
    """The nodes among which SLURM may choose for a job, by the job's options."""

    all_nodes: int
    """Nodes of its partitions."""
    usable: Mapping[str, bool]
    """Nodes that its options leave, and whether a job may start there now or later."""

    @property
    def is_away(self) -> bool:
        """Whether there are nodes and none is up: they may all come back."""
        return bool(self.usable) and not any(self.usable.values())

    def max_excluded(self, needed: int = 1) -> int:
        """How many of them may be left out of a job that needs so many."""
        share = max(1, int(self.all_nodes * MAX_EXCLUDED_SHARE))
        return max(0, min(share, len(self.usable) - needed))


@dataclass(frozen=True)
class NodeSize:
    """What one node has, and whether a job may start there now or later."""

    name: str
    is_usable: bool
    cpus: int
    memory_mb: int
    gpus: Mapping[str, int]
    """By type; "" where GPUs have none."""
    features: tuple[str, ...]

    def fits(self, asked: Resources) -> bool:
        """Whether the node is large enough for one of those that a job asks for."""
        options, kind = asked.options, asked.options.get("gpu_type", "")
        memory = options.get("mem")
        memory_mb = asked.mem_gb * 1024 if memory is None else parse_megabytes(memory) or 0
        feature = options.get("constraint", "")
        return (
            self.cpus >= asked.ranks_per_node * asked.cpus_per_rank
            and self.memory_mb >= memory_mb
            and (self.gpus.get(kind, 0) if kind else sum(self.gpus.values())) >= asked.gpus_per_node
            # An expression of several features is for SLURM to judge.
            and (not re.fullmatch(r"[\w.-]+", feature) or feature in self.features)
        )


def is_usable(state: str) -> bool:
    """Whether a job may start on a node now or later, by its state as sinfo abbreviates it."""
    return state.startswith(USABLE) and not state.endswith("*")


def find_candidate_nodes(options: Mapping[str, str]) -> CandidateNodes:
    """The nodes for a job with these options. Raises SchedulerUnavailable."""
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
    """Whether nodes that are away now are all that a job lacks: enough are large enough for it.

    By the states of nodes, and not by what SLURM says to the job: the words of a refusal are the
    same for nodes that are away and for nodes that no cluster has. Raises SchedulerUnavailable.
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
    """Every node of some partitions, or of the default one; a node in two of them comes twice."""
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
    """Those of some partitions, or the default one, that are DOWN where all of them are.

    They take jobs and start none. A partition that takes none either refuses them itself. Raises
    SchedulerUnavailable.
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
    """The state of every node of some partitions, or of the default one where none is named."""
    rows = split_rows(run_slurm("sinfo", "--noheader", "--Node", "--format=%P|%N|%t").stdout)
    asked = partitions.split(",") if partitions else []
    return {
        row[1]: row[2]
        for row in rows
        if len(row) == 3 and (row[0].rstrip("*") in asked if asked else row[0].endswith("*"))
    }


def find_recovered_nodes(nodes: Sequence[ExcludedNode]) -> tuple[str, ...]:
    """Names of excluded nodes that SLURM shows well again. Raises SchedulerUnavailable.

    Where the job found the node bad, and not SLURM, it must have been booted since: its state
    tells nothing of a GPU.
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
    """Nodes that do their work and when they were booted, from `scontrol show node --oneliner`."""
    for fields in map(parse_pairs, text.splitlines()):
        first, *flags = fields.get("State", "").split("+")
        is_healthy = re.sub(r"\W+$", "", first) in HEALTHY and "*" not in first
        if is_healthy and not any(flag.startswith(UNHEALTHY) for flag in flags):
            yield fields.get("NodeName", ""), parse_boot_time(fields.get("BootTime", ""))


def controller_just_started() -> bool:
    """Whether SLURM's controller was started within the last minute, as after a crash.

    Its nodes register one after the other then, and it refuses jobs meanwhile whose nodes sinfo
    shows already. Raises SchedulerUnavailable.
    """
    config = parse_config(run_slurm("scontrol", "show", "config").stdout)
    return time.time() - parse_boot_time(config.get("BOOT_TIME", "")) < FRESH_CONTROLLER_S


def parse_boot_time(text: str) -> float:
    """`2026-11-30T08:00:00` in seconds since the epoch; 0.0 where nobody knows."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0


def exclude_node_for_pending(job: str, node: str) -> None:
    """Keep the elements of an array that wait off a node.

    A node that fails at once would take one of them after the other. Without an answer nothing is
    done, nor where as many nodes are left out as may be: the next round decides.
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
            # Says that it failed as soon as one element of the array runs, and has done the rest.
            run_slurm("scontrol", "update", f"JobId={number}", f"ExcNodeList={excluded}")
