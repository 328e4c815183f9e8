"""The records that jobs write: how far they are, how attempts ended, and why a node failed.

Apart from `core.records`, so that a command that plans does not define them: a type of pydantic
costs a login node half a millisecond.
"""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from hala_hpc.core.code_version import CodeVersion
from hala_hpc.core.errors import FailureClass
from hala_hpc.core.record import JsonRecord

#: A count may be whole or not.
Number = int | float

#: A failure class in a record; older records hold "" where the class is unknown.
MaybeClass = Annotated[FailureClass | None, BeforeValidator(lambda value: value or None)]


class WorkerLease(JsonRecord):
    """`attempts/lease-00003.json`: the attempt that may commit for a worker."""

    attempt: str
    round: int = 0
    """Of the attempt: its lease is void once a newer one has begun."""


class Claim(JsonRecord):
    """`claims/00007.json`: the worker that makes a unit."""

    worker: int


class FailureFacts(JsonRecord):
    """What an attempt knows of its own failure."""

    kind: MaybeClass = None
    """Class of the failure; None if unknown."""
    nodes: tuple[str, ...] = ()
    """Nodes that are to blame; empty if unknown."""
    signature: str = ""
    """Type of the error and the last frame of ours in its traceback."""
    gpu_seconds: float | None = None
    """Spent until a node was stopped early, as far as the worker knew; None for other failures."""


class ErrorReport(JsonRecord):
    """`attempts/<attempt>-error-<rank>.json`: why the model code ended, for its supervisor."""

    code: int
    """Exit code."""
    mistakes: tuple[str, ...] = ()
    facts: FailureFacts = FailureFacts()


class AttemptRecord(FailureFacts, CodeVersion):
    """`attempts/<attempt>.json`: how one rank of an attempt ended, as its supervisor saw it."""

    round: int = 0
    worker: int
    rank: int = 0
    job: str = ""
    host: str = ""
    """Name of the machine by its own account."""
    node: str = ""
    """Name of the machine by the scheduler's account."""
    code: int
    """Exit code."""
    reasons: tuple[str, ...] = ()
    began: float = 0.0
    """Seconds since the epoch."""
    seconds: float = 0.0
    stopped: bool = False
    """Whether a signal asked it to leave."""
    loading_s: float | None = None
    """Of `seconds`, those until something was done that the stage counts; None if unknown."""
    kernel_kill: bool = False
    """Whether the kernel killed something for its memory."""


class Failure(JsonRecord):
    """Why an attempt ended before its work was done."""

    kind: FailureClass
    text: str
    attempt: str = ""
    worker: int | None = None
    nodes: tuple[str, ...] = ()
    """Where it happened; for a bad node, the one that is bad."""
    signature: str = ""
    confirmed_by_scheduler: bool = False
    """Whether the scheduler saw it end so, too."""


class RoundFailures(JsonRecord):
    """`attempts/failures-0001.json`: why the attempts of a round failed, found by its gate."""

    fix: ClassVar[str] = "remove the file; the round then counts as one without known failures"

    failures: tuple[Failure, ...] = ()
    scheduler: tuple[str, ...] = ()
    """How the scheduler saw jobs end that did not end well."""
    memory_limit_gb: int | None = None
    """The most that a job may ask for; asked only where memory was too small."""
    max_excluded: int | None = None
    """How many nodes may be left out; asked only where some are bad."""
    recovered_nodes: tuple[str, ...] = ()
    """Nodes that the round left out and that the scheduler shows well again."""
    time: float = 0.0
    """Seconds since the epoch."""


class FailureReason(JsonRecord):
    """One reason for which a node failed."""

    text: str
    kind: MaybeClass = None
    """Class of the failure; None for what no class describes, as rounds without progress."""
    log_tail: tuple[str, ...] = ()
    """The end of the log that shows it, after a line that names the log."""
    gpu_seconds: float | None = None
    """Spent until the node was stopped early, as far as its worker knew; None for other reasons."""

    @classmethod
    def of(cls, reasons: "Iterable[FailureReason | str]") -> "tuple[FailureReason, ...]":
        """Reasons of texts; a bare text is a reason of no known class."""
        return tuple(cls(text=one) if isinstance(one, str) else one for one in reasons)

    @property
    def lines(self) -> list[str]:
        """The reason as it is printed for people."""
        return [self.text, *self.log_tail]


class FailureReport(JsonRecord):
    """`failure.json`: why a node failed, until somebody runs it again."""

    fix: ClassVar[str] = "give the line of the launch again, which forgets that the node failed"

    code: int
    """Exit code."""
    reasons: tuple[FailureReason, ...] = ()
    time: float = 0.0
    """Seconds since the epoch."""

    @model_validator(mode="before")
    @classmethod
    def _read_lines(cls, value: Any) -> Any:
        """Reasons were lines up to November 2026, those of a log among them, indented."""
        reasons = value.get("reasons") if isinstance(value, dict) else None
        if not isinstance(reasons, list) or not all(isinstance(one, str) for one in reasons):
            return value
        found: list[dict[str, Any]] = []
        for text, following in zip(reasons, [*reasons[1:], ""], strict=True):
            # A line that indented ones follow says whose log they are of.
            if found and (text.startswith("  ") or following.startswith("  ")):
                found[-1]["log_tail"].append(text)
            else:
                found.append({"text": text, "log_tail": []})
        return {**value, "reasons": found}


class Progress(JsonRecord):
    """`progress/00003-0000.json`: how far one rank of a worker is. Written every second.

    Other counts than those that are named here are kept as they are.
    """

    model_config = ConfigDict(extra="allow")

    worker: int
    rank: int
    attempt: str
    host: str = ""
    pid: int = 0
    began: float
    """Seconds since the epoch."""
    time: float
    """Seconds since the epoch."""
    ended: bool = False
    units_done: int = 0
    stopping: bool = False
    loaded_s: Number | None = None
    """Seconds from `began` until libraries and models were loaded; None before that."""
    rows: Number | None = None
    rows_of_node: Number | None = None
    tokens: Number | None = None
    tokens_per_s: Number | None = None
    step: Number | None = None
    steps_total: Number | None = None
    loss: Number | None = None
    left_s: Number | None = None

    @model_serializer(mode="wrap")
    def _leave_out_unknown(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only counts that are known are written."""
        return {key: value for key, value in serialize(self).items() if value is not None}

    @property
    def seconds(self) -> float:
        """Seconds from the beginning of the attempt to this word."""
        return self.time - self.began


class RankState(JsonRecord):
    """`.ranks/rank-0.json` beside the checkpoints: how far one rank of a training is."""

    rank: int
    attempt: str
    node: str
    step: int
    passes: int
    """Forward passes that were begun."""
    phase: str
    time: float
    """Seconds since the epoch."""


class SavedFile(JsonRecord):
    """A file of a checkpoint, as it was read back."""

    bytes: int
    digest: str
    """BLAKE2b of 128 bits, hexadecimal."""


class CheckpointCommit(JsonRecord):
    """`COMMIT.json`: a checkpoint is whole."""

    step: int = 0
    world_size: int
    """Ranks that saved it."""
    zero_stage: int
    seconds: float | None = None
    """What saving took; None if unknown."""
    converted: bool = False
    """Whether it was made of one that another number of ranks saved."""
    files: dict[str, SavedFile]
