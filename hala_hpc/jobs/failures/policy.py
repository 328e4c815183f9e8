"""POLICY: for each failure class what the next round does, how often, and who is to blame.

Only what leaves the result as it is may change from round to round.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hala_hpc.core.errors import FailureClass


class Action(StrEnum):
    """What follows from a failure."""

    RESUBMIT = "resubmit"
    """The same again."""
    EXCLUDE_NODE = "exclude_node"
    """Again, on other nodes."""
    RAISE_MEMORY = "raise_memory"
    """Again, with half as much host memory more."""
    SMALLER_BATCH = "smaller_batch"
    """Again, with half as many rows on a GPU at once."""
    STOP = "stop"
    """No other round: it would end as this one did."""
    LEAVE_TO_USER = "leave_to_user"
    """No other round: somebody ended the jobs and may launch again."""


class Counted(StrEnum):
    """What a bound counts."""

    IDLE_ROUNDS = "rounds in a row that ended without a new marker or checkpoint"
    BLAMELESS_ROUNDS = "rounds in a row that only the cluster ended, without progress"
    EXCLUDED_NODES = "nodes that are excluded"
    ROUNDS_AT_MEMORY_LIMIT = "rounds with the most memory that may be asked for"
    ROUNDS_WITH_ONE_ROW = "rounds with a single row on a GPU at once"
    SAME_TRACEBACKS = "attempts that ended with the same traceback"
    ATTEMPTS = "attempts that ended so"


class Blame(StrEnum):
    """Who can do something about a failure."""

    CLUSTER = "cluster"
    """Rounds that ended by such failures alone do not count as idle."""
    USER = "user"
    CODE = "code"
    """A defect of this program or of a library."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Bound:
    """How often a remedy is tried before the node fails."""

    limit: int
    counts: Counted


@dataclass(frozen=True)
class Remedy:
    """What follows from failures of one class."""

    action: Action
    bound: Bound
    blames: Blame
    meaning: str
    """The class, for people."""
    after: int = 1
    """Failures on one node before the node is excluded."""


#: Each idle round costs a wait in the queue: two are no chance any more.
IDLE = Bound(2, Counted.IDLE_ROUNDS)
#: Rounds that the cluster ended: where this many bring nothing, the queue lets no work be done.
BLAMELESS = Bound(30, Counted.BLAMELESS_ROUNDS)
#: Nodes that may be excluded: where more are bad, something else is the matter. Of a small
#: partition fewer may be, see `backends.slurm.node_states`.
BAD_NODES = Bound(8, Counted.EXCLUDED_NODES)
ONCE = Bound(1, Counted.ATTEMPTS)

POLICY: Mapping[FailureClass, Remedy] = {
    FailureClass.PREEMPTED: Remedy(Action.RESUBMIT, BLAMELESS, Blame.CLUSTER, "preempted"),
    FailureClass.TIMEOUT: Remedy(Action.RESUBMIT, IDLE, Blame.USER, "out of its time"),
    FailureClass.NODE_FAILURE: Remedy(Action.EXCLUDE_NODE, BAD_NODES, Blame.CLUSTER, "a bad node"),
    FailureClass.HOST_OOM: Remedy(
        Action.RAISE_MEMORY,
        Bound(1, Counted.ROUNDS_AT_MEMORY_LIMIT),
        Blame.USER,
        "out of the host's memory",
    ),
    FailureClass.GPU_OOM: Remedy(
        Action.SMALLER_BATCH,
        Bound(1, Counted.ROUNDS_WITH_ONE_ROW),
        Blame.USER,
        "out of the GPU's memory",
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
    FailureClass.NO_REPORT: Remedy(Action.RESUBMIT, IDLE, Blame.UNKNOWN, "no word was left"),
    FailureClass.SECONDARY: Remedy(
        Action.RESUBMIT, IDLE, Blame.UNKNOWN, "another rank or attempt failed"
    ),
    # Looked at once its inputs are finished; before, the gate has failed or waits for them.
    FailureClass.EARLY: Remedy(
        Action.RESUBMIT, BLAMELESS, Blame.CLUSTER, "begun before its input was finished"
    ),
}
