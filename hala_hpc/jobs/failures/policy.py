"""POLICY: for each failure class the action of the next round, its bound, and who is responsible.

A remedy may only change what does not affect the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hala_hpc.core.errors import FailureClass


class Action(StrEnum):
    """Action after a failure."""

    RESUBMIT = "resubmit"
    """Submit the same round again."""
    EXCLUDE_NODE = "exclude_node"
    """Submit again, on other nodes."""
    RAISE_MEMORY = "raise_memory"
    """Submit again, with 1.5 times the host memory."""
    SMALLER_BATCH = "smaller_batch"
    """Submit again, with half as many rows on a GPU at once."""
    STOP = "stop"
    """No other round: it would fail in the same way."""
    LEAVE_TO_USER = "leave_to_user"
    """No other round: a user cancelled the jobs and may launch again."""


class Counted(StrEnum):
    """Quantity that a bound limits."""

    IDLE_ROUNDS = "rounds in a row that ended without a new marker or checkpoint"
    BLAMELESS_ROUNDS = "rounds in a row without progress that only the cluster ended"
    EXCLUDED_NODES = "nodes that are excluded"
    ROUNDS_AT_MEMORY_LIMIT = "rounds with the maximum memory that may be requested"
    ROUNDS_WITH_ONE_ROW = "rounds with a single row on a GPU at once"
    SAME_TRACEBACKS = "attempts that ended with the same traceback"
    ATTEMPTS = "attempts that ended in this way"


class Blame(StrEnum):
    """Who can fix a failure."""

    CLUSTER = "cluster"
    """Rounds ended only by such failures do not count as idle."""
    USER = "user"
    CODE = "code"
    """A defect of this program or of a library."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Bound:
    """Limit of a remedy, after which the node fails."""

    limit: int
    counts: Counted


@dataclass(frozen=True)
class Remedy:
    """The action for failures of one class, with its bound."""

    action: Action
    bound: Bound
    blames: Blame
    meaning: str
    """Description of the class, for users."""
    after: int = 1
    """Failures on one node before the node is excluded."""


#: Each idle round costs a wait in the queue; after two, another is unlikely to help.
IDLE = Bound(2, Counted.IDLE_ROUNDS)
#: Rounds ended by the cluster: if this many bring no progress, the queue allows no work.
BLAMELESS = Bound(30, Counted.BLAMELESS_ROUNDS)
#: Nodes that may be excluded: if more are bad, the cause is something else. In a small partition
#: fewer may be, see `backends.slurm.node_states`.
BAD_NODES = Bound(8, Counted.EXCLUDED_NODES)
ONCE = Bound(1, Counted.ATTEMPTS)

POLICY: Mapping[FailureClass, Remedy] = {
    FailureClass.PREEMPTED: Remedy(Action.RESUBMIT, BLAMELESS, Blame.CLUSTER, "preempted"),
    FailureClass.TIMEOUT: Remedy(Action.RESUBMIT, IDLE, Blame.USER, "time limit reached"),
    FailureClass.NODE_FAILURE: Remedy(Action.EXCLUDE_NODE, BAD_NODES, Blame.CLUSTER, "a bad node"),
    FailureClass.HOST_OOM: Remedy(
        Action.RAISE_MEMORY,
        Bound(1, Counted.ROUNDS_AT_MEMORY_LIMIT),
        Blame.USER,
        "out of host memory",
    ),
    FailureClass.GPU_OOM: Remedy(
        Action.SMALLER_BATCH,
        Bound(1, Counted.ROUNDS_WITH_ONE_ROW),
        Blame.USER,
        "out of GPU memory",
    ),
    FailureClass.ENGINE: Remedy(
        Action.EXCLUDE_NODE, IDLE, Blame.UNKNOWN, "the engine died or hung", after=2
    ),
    FailureClass.BAD_DATA: Remedy(Action.STOP, ONCE, Blame.USER, "bad data"),
    FailureClass.EXCEPTION: Remedy(
        Action.RESUBMIT, Bound(3, Counted.SAME_TRACEBACKS), Blame.CODE, "a defect"
    ),
    FailureClass.CONFIG_ERROR: Remedy(
        Action.STOP, ONCE, Blame.USER, "a mistake in recipe or set-up"
    ),
    FailureClass.CANCELLED: Remedy(Action.LEAVE_TO_USER, ONCE, Blame.USER, "cancelled"),
    FailureClass.KILLED: Remedy(Action.RESUBMIT, IDLE, Blame.UNKNOWN, "killed"),
    FailureClass.NO_REPORT: Remedy(Action.RESUBMIT, IDLE, Blame.UNKNOWN, "no record was left"),
    FailureClass.SECONDARY: Remedy(
        Action.RESUBMIT, IDLE, Blame.UNKNOWN, "another rank or attempt failed"
    ),
    # Applied once its inputs are finished; before that the gate has failed or waits for them.
    FailureClass.EARLY: Remedy(
        Action.RESUBMIT, BLAMELESS, Blame.CLUSTER, "started before its input was finished"
    ),
}
