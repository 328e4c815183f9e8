"""Errors with their exit codes (after sysexits.h), and the classes of failures."""

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

# Under each code: its meaning, a colon, and what to do. `docs/reference_pages.py` reads them.
OK = 0
"""complete: nothing."""
USAGE = 64
"""a mistake on the command line or in a setting: correct the argument that the message names."""
BAD_DATA = 65
"""data or a file of the run that cannot be used: correct the file that the message names."""
NO_INPUT = 66
"""an input, a model or a run is not there: fetch it, make it, or correct its name."""
UNAVAILABLE = 69
"""a service or a program that is needed does not answer, such as SLURM or the hub: try again when
it does."""
INTERNAL = 70
"""a defect of the program: report it with the traceback in the log."""
CANNOT_CREATE = 73
"""a file cannot be written, as the disk or a quota is full or rights are missing: make room, then
run the same command."""
RETRY = 75
"""not finished, and another attempt may succeed: run the same command again."""
CONFIG = 78
"""a recipe, a launcher or the set-up of the machine is wrong: change what the message names."""


class UserError(Exception):
    """A mistake that the user can fix; the message names the setting, the value and the fix.

    `code` is the exit status; `mistakes` holds one line for each problem.
    """

    def __init__(self, message: str | Sequence[str], code: int = USAGE) -> None:
        self.mistakes = [message] if isinstance(message, str) else list(message)
        self.code = code
        super().__init__("\n".join(self.mistakes))


class EarlyStop(UserError):
    """A node that is stopped because its results are of no use: more of them would only cost."""

    def __init__(self, message: str, code: int, gpu_seconds: float) -> None:
        self.gpu_seconds = gpu_seconds
        """GPU seconds spent until then."""
        super().__init__(message, code)


class FailureClass(StrEnum):
    """Why an attempt ended before its work was done.

    Exceptions carry it and records store it: no decision depends on the wording of a message.
    """

    PREEMPTED = "preempted"
    TIMEOUT = "timeout"
    NODE_FAILURE = "node_failure"
    HOST_OOM = "host_oom"
    GPU_OOM = "gpu_oom"
    ENGINE = "engine"
    """An engine or a training that died or hung."""
    BAD_DATA = "bad_data"
    EXCEPTION = "exception"
    """A defect of the code: a traceback."""
    CONFIG_ERROR = "config_error"
    CANCELLED = "cancelled"
    """Somebody cancelled the job."""
    KILLED = "killed"
    """Ended by a signal for an unknown reason."""
    NO_REPORT = "no_report"
    """Neither the job nor the scheduler reported how it ended."""
    SECONDARY = "secondary"
    """Caused by the failure of another rank, attempt or node."""
    EARLY = "early"
    """It began before one of its input nodes was finished."""

    @classmethod
    def _missing_(cls, value: object) -> "FailureClass | None":
        """Read the class names of older records."""
        return FORMER_CLASSES.get(str(value))


#: Names of failure classes in records up to November 2026.
FORMER_CLASSES = {
    "walltime": FailureClass.TIMEOUT,
    "node": FailureClass.NODE_FAILURE,
    "host_memory": FailureClass.HOST_OOM,
    "gpu_memory": FailureClass.GPU_OOM,
    "data": FailureClass.BAD_DATA,
    "bug": FailureClass.EXCEPTION,
    "set_up": FailureClass.CONFIG_ERROR,
    "lost": FailureClass.NO_REPORT,
    "follows": FailureClass.SECONDARY,
}


class TransientError(Exception):
    """This attempt cannot continue but another may: the worker exits with code 75."""

    default_kind: ClassVar[FailureClass | None] = None

    def __init__(
        self, text: str, kind: FailureClass | None = None, nodes: Sequence[str] = ()
    ) -> None:
        self.kind = kind or self.default_kind
        """The class of the failure; None if unknown."""
        self.nodes = tuple(nodes)
        """Nodes at fault; empty if unknown."""
        super().__init__(text)


class BadNode(TransientError):
    """`nodes` cannot do the work: another attempt must run elsewhere."""

    default_kind = FailureClass.NODE_FAILURE


class EngineDied(TransientError):
    """A process of the engine ended, or the engine reports that it failed."""

    default_kind = FailureClass.ENGINE


class EngineHung(TransientError):
    """The engine finishes no more steps; `nodes` are those it runs on, if known."""

    default_kind = FailureClass.ENGINE


class RankHung(TransientError):
    """A training finishes no more steps; `nodes` has the node of the rank that is behind."""

    default_kind = FailureClass.ENGINE


class RankLost(TransientError):
    """Another rank of this attempt is gone or does not answer."""

    default_kind = FailureClass.SECONDARY


class LeaseLost(TransientError):
    """A newer attempt of the same worker has begun."""

    default_kind = FailureClass.SECONDARY


class StopRequested(TransientError):
    """This job or another rank of it was asked to stop."""

    default_kind = FailureClass.SECONDARY


class SchedulerUnavailable(TransientError):
    """SLURM did not answer; a later call may succeed."""


class AllocationTimeout(TransientError):
    """SLURM allocated no node in time."""


class NodesUnavailable(TransientError):
    """None of the nodes that a job may use is up now; they may come back."""


class JobLimitReached(TransientError):
    """The cluster accepts no more jobs of this user now, or no array of this size."""


class JobRefused(UserError):
    """SLURM rejects a job as it was requested."""


class InputNotFinished(UserError):
    """An input node has no summary yet: it may be running again."""

    kind = FailureClass.EARLY


def suggest_name(name: str, valid: Sequence[str], kind: str) -> str:
    """Suggest the valid name that was probably meant, or list them all."""
    from difflib import get_close_matches

    near = get_close_matches(name, valid, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"{kind} are: {', '.join(sorted(valid)) or 'none'}"
