"""Records that jobs write: their progress, how attempts ended, and why a node failed.

Separate from `core.records`, so that a command that plans does not define them: a type of pydantic
costs a login node half a millisecond.
"""

import time
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

#: A count may be a whole number or not.
Number = int | float

#: A failure class in a record; older records hold "" if the class is unknown.
MaybeClass = Annotated[FailureClass | None, BeforeValidator(lambda value: value or None)]


class WorkerLease(JsonRecord):
    """`attempts/lease-00003.json`: the attempt that may commit for a worker."""

    attempt: str
    round: int = 0
    """Round of the attempt: its lease is void once a newer round has begun."""


class Claim(JsonRecord):
    """`claims/00007.json`: the worker that runs a unit."""

    worker: int


class CleanedParts(JsonRecord):
    """`cleaned.json`: what `clean` removed from a node; written before, removed once it is made
    again."""

    fix: ClassVar[str] = "remove the file: what is missing then counts as damaged"

    time: float
    """Of the newest removal, in seconds since the epoch."""
    user: str = ""
    """Login name of who removed it."""
    kinds: tuple[str, ...]
    """As `clean` names them: units, checkpoints, old, outputs."""
    has_output: bool = False
    """Whether the output is among it."""
    files: int = 0
    size_bytes: int = 0

    @property
    def text(self) -> str:
        """When and by whom, for people."""
        day = time.strftime("%F", time.localtime(self.time))
        return f"removed by clean on {day}{f' ({self.user})' if self.user else ''}"


class FailureFacts(JsonRecord):
    """What an attempt knows about its own failure."""

    kind: MaybeClass = None
    """Class of the failure; None if unknown."""
    nodes: tuple[str, ...] = ()
    """Nodes at fault; empty if unknown."""
    signature: str = ""
    """Type of the error and the last frame of this package in its traceback."""
    gpu_seconds: float | None = None
    """GPU seconds spent until a node was stopped early, as far as the worker knew; None for other
    failures."""


class ErrorReport(JsonRecord):
    """`attempts/<attempt>-error-<rank>.json`: why the model code ended, for its supervisor."""

    code: int
    """Exit code."""
    mistakes: tuple[str, ...] = ()
    facts: FailureFacts = FailureFacts()


class AttemptRecord(FailureFacts, CodeVersion):
    """`attempts/<attempt>.json`: how one rank of an attempt ended, written by its supervisor."""

    round: int = 0
    worker: int
    rank: int = 0
    job: str = ""
    host: str = ""
    """Hostname as the machine reports it."""
    node: str = ""
    """Node name as the scheduler reports it."""
    code: int
    """Exit code."""
    reasons: tuple[str, ...] = ()
    began: float = 0.0
    """Seconds since the epoch."""
    seconds: float = 0.0
    stopped: bool = False
    """Whether a signal asked it to stop."""
    loading_s: float | None = None
    """Part of `seconds` before the first work that the stage counts; None if unknown."""
    kernel_kill: bool = False
    """Whether the kernel killed a process for its memory."""


class Failure(JsonRecord):
    """Why an attempt ended before its work was done."""

    kind: FailureClass
    text: str
    attempt: str = ""
    worker: int | None = None
    nodes: tuple[str, ...] = ()
    """Where it happened; for a bad node, the node that is bad."""
    signature: str = ""
    confirmed_by_scheduler: bool = False
    """Whether the scheduler also reported this end."""


class RoundFailures(JsonRecord):
    """`attempts/failures-0001.json`: why the attempts of a round failed, found by its gate."""

    fix: ClassVar[str] = "remove the file; the round then counts as one without known failures"

    failures: tuple[Failure, ...] = ()
    scheduler: tuple[str, ...] = ()
    """The scheduler's reports of jobs that did not end well."""
    memory_limit_gb: int | None = None
    """Maximum that a job may request; queried only if memory was too small."""
    max_excluded: int | None = None
    """How many nodes may be excluded; queried only if some are bad."""
    recovered_nodes: tuple[str, ...] = ()
    """Nodes that the round excluded and that the scheduler reports as healthy again."""
    time: float = 0.0
    """Seconds since the epoch."""


class FailureReason(JsonRecord):
    """One reason why a node failed."""

    text: str
    kind: MaybeClass = None
    """Class of the failure; None if no class describes it, e.g. rounds without progress."""
    log_tail: tuple[str, ...] = ()
    """The end of the log that shows it, after a line that names the log."""
    gpu_seconds: float | None = None
    """GPU seconds spent until the node was stopped early, as far as its worker knew; None for other
    reasons."""

    @classmethod
    def of(cls, reasons: "Iterable[FailureReason | str]") -> "tuple[FailureReason, ...]":
        """Convert texts to reasons; a bare text becomes a reason without a class."""
        return tuple(cls(text=one) if isinstance(one, str) else one for one in reasons)

    @property
    def lines(self) -> list[str]:
        """The reason as it is printed."""
        return [self.text, *self.log_tail]


class FailureReport(JsonRecord):
    """`failure.json`: why a node failed, until it is launched again."""

    fix: ClassVar[str] = "run the launch command again, which removes the failure of the node"

    code: int
    """Exit code."""
    reasons: tuple[FailureReason, ...] = ()
    time: float = 0.0
    """Seconds since the epoch."""

    @model_validator(mode="before")
    @classmethod
    def _read_lines(cls, value: Any) -> Any:
        """Read reports up to November 2026: reasons were lines, with indented lines of a log."""
        reasons = value.get("reasons") if isinstance(value, dict) else None
        if not isinstance(reasons, list) or not all(isinstance(one, str) for one in reasons):
            return value
        found: list[dict[str, Any]] = []
        for text, following in zip(reasons, [*reasons[1:], ""], strict=True):
            # A line before indented ones names their log.
            if found and (text.startswith("  ") or following.startswith("  ")):
                found[-1]["log_tail"].append(text)
            else:
                found.append({"text": text, "log_tail": []})
        return {**value, "reasons": found}


class Progress(JsonRecord):
    """`progress/00003-0000.json`: progress of one rank of a worker. Written every second.

    Counts other than the fields below are kept as they are.
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
    rows_of_worker: Number | None = None
    tokens: Number | None = None
    tokens_per_s: Number | None = None
    step: Number | None = None
    steps_total: Number | None = None
    loss: Number | None = None
    left_s: Number | None = None

    @model_serializer(mode="wrap")
    def _leave_out_unknown(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write only counts that are known."""
        return {key: value for key, value in serialize(self).items() if value is not None}

    @property
    def seconds(self) -> float:
        """Seconds from the start of the attempt to this record."""
        return self.time - self.began


class RankState(JsonRecord):
    """`.ranks/rank-0.json` beside the checkpoints: progress of one rank of a training."""

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
    """`COMMIT.json`: a checkpoint is complete."""

    step: int = 0
    world_size: int
    """Ranks that saved it."""
    zero_stage: int
    seconds: float | None = None
    """Duration of the save; None if unknown."""
    converted: bool = False
    """Whether it was converted from one that another number of ranks saved."""
    files: dict[str, SavedFile]
