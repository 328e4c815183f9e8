"""States of nodes: where a job may run now, which are well again, how many may be left out.

Asked when a round has ended and when SLURM refuses a job; nothing is remembered.
"""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hala_hpc.backends.slurm.client import ask, split_rows
from hala_hpc.backends.slurm.parsing import count, hosts, pairs
from hala_hpc.core.errors import Retry
from hala_hpc.core.records import ExcludedNode

#: States of a node on which a job may start now or later, as sinfo abbreviates them.
USABLE = ("idle", "mix", "alloc", "comp", "plnd", "resv", "pow")
#: States of a node that does its work, in the words of scontrol.
WELL = ("IDLE", "MIXED", "ALLOCATED")
#: Beside one of them: the node gets no work, or does not answer.
NOT_WELL = ("DRAIN", "FAIL", "NOT_RESPONDING", "MAINT", "REBOOT", "INVAL", "DOWN")
#: Nodes of a partition that may be left out at most: where more are bad, others than a node are to
#: blame, and a cluster that is asked for without most of its nodes gives none.
MOST_EXCLUDED_SHARE = 0.5


@dataclass(frozen=True)
class Choice:
    """The nodes among which SLURM may choose for a job, by the job's options."""

    all_nodes: int
    """Nodes of its partitions."""
    usable: Mapping[str, bool]
    """Nodes that its options leave, and whether a job may start there now or later."""

    @property
    def is_away(self) -> bool:
        """Whether there are nodes and none is up: they may all come back."""
        return bool(self.usable) and not any(self.usable.values())

    def most_excluded(self, needed: int = 1) -> int:
        """How many of them may be left out of a job that needs so many."""
        share = max(1, int(self.all_nodes * MOST_EXCLUDED_SHARE))
        return max(0, min(share, len(self.usable) - needed))


def is_usable(state: str) -> bool:
    """Whether a job may start on a node now or later, by its state as sinfo abbreviates it."""
    return state.startswith(USABLE) and not state.endswith("*")


def choice_of(options: Mapping[str, str]) -> Choice:
    """The nodes for a job with these options. Raises SchedulerUnavailable."""
    states = states_of(options.get("partition", ""))
    named, excluded = hosts(options.get("nodelist", "")), hosts(options.get("exclude", ""))
    left = {
        name: is_usable(state)
        for name, state in states.items()
        if name not in excluded and (not named or name in named)
    }
    return Choice(len(states), left)


def states_of(partitions: str) -> dict[str, str]:
    """The state of every node of some partitions, or of the default one where none is named."""
    rows = split_rows(ask("sinfo", "--noheader", "--Node", "--format=%P|%N|%t").stdout)
    asked = partitions.split(",") if partitions else []
    return {
        row[1]: row[2]
        for row in rows
        if len(row) == 3 and (row[0].rstrip("*") in asked if asked else row[0].endswith("*"))
    }


def well_again(nodes: Sequence[ExcludedNode]) -> tuple[str, ...]:
    """Names of excluded nodes that SLURM shows well again. Raises SchedulerUnavailable.

    Where the job found the node bad, and not SLURM, it must have been booted since: its state
    tells nothing of a GPU.
    """
    if not nodes:
        return ()
    names = ",".join(node.name for node in nodes)
    booted = dict(well_nodes(ask("scontrol", "show", "node", "--oneliner", names).stdout))
    return tuple(
        node.name
        for node in nodes
        if node.name in booted and (not node.until_boot or booted[node.name] > node.since)
    )


def well_nodes(text: str) -> Iterator[tuple[str, float]]:
    """Nodes that do their work and when they were booted, from `scontrol show node --oneliner`."""
    for said in map(pairs, text.splitlines()):
        first, *flags = said.get("State", "").split("+")
        is_well = re.sub(r"\W+$", "", first) in WELL and "*" not in first
        if is_well and not any(flag.startswith(NOT_WELL) for flag in flags):
            yield said.get("NodeName", ""), booted_at(said.get("BootTime", ""))


def booted_at(text: str) -> float:
    """`2026-11-30T08:00:00` in seconds since the epoch; 0.0 where nobody knows."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0


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
