"""The records of a work folder: what launches, workers and gates write for each other.

One type for each kind of file, with one reader and one writer (`core.record`). `core.artifact`
knows where the files of a node lie. Open are only settings, and figures that a stage reports.
"""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from hala_hpc.core.errors import FailureClass
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.record import Record
from hala_hpc.core.resources import Resources

#: A count may be whole or not.
Number = int | float

#: A failure class in a record; older records hold "" where the class is unknown.
MaybeClass = Annotated[FailureClass | None, BeforeValidator(lambda value: value or None)]


class LaunchLease(Record):
    """`launch.lease`: the process that may submit in a work folder."""

    cure: ClassVar[str] = "remove the file when no launch works in this folder"

    host: str
    pid: int
    since: str
    """Local time, for people."""
    holder: Literal["launch", "gate"] = "launch"
    """What holds it: a command on a login node, or the gate of a node."""


class WorkerLease(Record):
    """`attempts/lease-00003.json`: the attempt that may commit for a worker."""

    attempt: str


class Claim(Record):
    """`claims/00007.json`: the worker that makes a unit."""

    worker: int


class RoundSpec(Record):
    """What the jobs of a round and of later ones need to know.

    The settings stand here as well as in `config.json`: those that leave the result as it is may
    be others each time that somebody asks.
    """

    launcher: Launcher
    env: str
    commit: str
    settings: dict[str, Any]
    """All settings but the resources, as JSON values."""
    resources: Resources
    idle_rounds: int = 0
    """Rounds in a row before this one that brought no progress."""
    blameless_rounds: int = 0
    """Rounds in a row before this one that the cluster alone ended, without progress."""
    since_round: int | None = None
    """The first round since a person asked; None for that round itself."""
    because: tuple[str, ...] = ()
    """What this round does differently from the one before, and why."""
    bad_nodes: tuple[str, ...] = ()
    """Nodes that earlier rounds found bad, by name."""

    @property
    def is_local(self) -> bool:
        """Whether the jobs run as children of the launch and not under a scheduler."""
        return self.launcher.backend == "local"

    @property
    def stage_settings(self) -> dict[str, Any]:
        """The values of which a stage makes its settings."""
        return {**self.settings, "resources": self.resources}


class Round(Record):
    """`rounds/0001.json`: who makes which units, written before the jobs are submitted."""

    cure: ClassVar[str] = "remove the file; the next launch begins another round"

    round: int
    key: str
    """Part of the names of the jobs, so that they are recognized."""
    assignment: tuple[tuple[int, ...], ...]
    """The units of each worker."""
    progress_before: tuple[str, ...]
    """What existed of markers and checkpoints."""
    began: float
    """Seconds since the epoch."""
    spec: RoundSpec

    @property
    def workers(self) -> int:
        """Number of workers."""
        return len(self.assignment)


class Jobs(Record):
    """`jobs.json`: ids of the newest jobs of a node."""

    cure: ClassVar[str] = "remove the file; living jobs are recognized by their names"

    round: int
    submitted: float
    """Seconds since the epoch."""
    workers: str = ""
    """Id of the array of workers; empty if it is not submitted yet."""
    gate: str = ""
    """Id of the gate; empty if it is not submitted yet."""

    @property
    def ids(self) -> list[str]:
        """Ids of workers and gate, as far as they were submitted."""
        return [number for number in (self.workers, self.gate) if number]


class RowCounts(Record):
    """Counts of rows and tokens. Rows in == rows out + rows rejected."""

    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0
    rejected: dict[str, int] = Field(default_factory=dict)
    """Rejected rows by reason."""
    tokens_in: int = 0
    tokens_out: int = 0


class UnitMarker(RowCounts):
    """`done/00007.json`: a unit is done. Written last, after its files were read back."""

    cure: ClassVar[str] = "remove the file and launch again; the unit is checked or made again"

    unit: int
    details: dict[str, Any] = Field(default_factory=dict)
    """Figures that the stage wants in the summary."""
    seconds: float = 0.0
    attempt: str = ""
    host: str = ""
    files: dict[str, int] = Field(default_factory=dict)
    """Size in bytes of each file of the unit."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of the libraries that made it."""
    commit: str = ""


#: Kind of an input that is a file or folder outside the work folder.
PATH_INPUT = "path"


class InputFacts(Record):
    """An input of a node in its `config.json`: another node, or a path outside the work folder."""

    kind: str
    """Kind of product of a node: model, corpus, ...; `path` for a file or folder."""
    fingerprint: str
    artifact: Annotated[str | None, Field(exclude_if=lambda value: value is None)] = None
    """Name of the folder of the node; None for a path."""
    path: Annotated[str | None, Field(exclude_if=lambda value: value is None)] = None
    """Where a file or folder lies; None for a node."""


class NodeConfig(Record):
    """`config.json`: settings and inputs of a node, written once."""

    cure: ClassVar[str] = "remove the file and launch again, which writes it anew"

    node: str
    stage: str
    version: int = 1
    """Of the stage."""
    env: str = "main"
    fingerprint: str = ""
    units: int
    settings: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, InputFacts] = Field(default_factory=dict)
    """By name of the node, or by path as it was given."""
    gpu_hours_estimate: float | None = None
    """What the node was estimated to take when it was launched first; None if unknown."""

    @property
    def input_folders(self) -> list[str]:
        """Names of the artifact folders that the node reads."""
        return [facts.artifact for facts in self.inputs.values() if facts.artifact]


class NodeSummary(RowCounts):
    """`summary.json`: a node is done. Written last, by its gate."""

    cure: ClassVar[str] = "remove the file and launch again; the gate writes it anew"

    node: str
    stage: str
    fingerprint: str = ""
    units: int
    details: Any = None
    """Figures of the stage, as JSON values."""
    seconds: float = 0.0
    """Of all units together."""
    versions: dict[str, str] = Field(default_factory=dict)
    commit: str = ""
    inputs: dict[str, str] = Field(default_factory=dict)
    """Fingerprints of the inputs."""
    seconds_wall: float = 0.0
    """From the first round to the summary."""
    rounds: int = 0
    because: tuple[str, ...] = ()
    """What later rounds did differently from the first, and why."""


class FailureFacts(Record):
    """What an attempt knows of its own failure."""

    kind: MaybeClass = None
    """Class of the failure; None if unknown."""
    nodes: tuple[str, ...] = ()
    """Nodes that are to blame; empty if unknown."""
    signature: str = ""
    """Type of the error and the last frame of ours in its traceback."""


class ErrorReport(Record):
    """`attempts/<attempt>-error-<rank>.json`: why the model code ended, for its supervisor."""

    code: int
    """Exit code."""
    mistakes: tuple[str, ...] = ()
    facts: FailureFacts = FailureFacts()


class AttemptRecord(FailureFacts):
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
    kernel_kill: bool = False
    """Whether the kernel killed something for its memory."""


class Failure(Record):
    """Why an attempt ended before its work was done."""

    kind: FailureClass
    text: str
    attempt: str = ""
    worker: int | None = None
    nodes: tuple[str, ...] = ()
    """Where it happened; for a bad node, the one that is bad."""
    signature: str = ""


class RoundFailures(Record):
    """`attempts/failures-0001.json`: why the attempts of a round failed, found by its gate."""

    cure: ClassVar[str] = "remove the file; the round then counts as one without known failures"

    failures: tuple[Failure, ...] = ()
    scheduler: tuple[str, ...] = ()
    """How the scheduler saw jobs end that did not end well."""
    memory_limit_gb: int | None = None
    """The most that a job may ask for; asked only where memory was too small."""
    time: float = 0.0
    """Seconds since the epoch."""


class FailureReason(Record):
    """One reason for which a node failed."""

    text: str
    kind: MaybeClass = None
    """Class of the failure; None for what no class describes, as rounds without progress."""
    log_tail: tuple[str, ...] = ()
    """The end of the log that shows it, after a line that names the log."""

    @classmethod
    def of(cls, reasons: "Iterable[FailureReason | str]") -> "tuple[FailureReason, ...]":
        """Reasons of texts; a bare text is a reason of no known class."""
        return tuple(cls(text=one) if isinstance(one, str) else one for one in reasons)

    @property
    def lines(self) -> list[str]:
        """The reason as it is printed for people."""
        return [self.text, *self.log_tail]


class FailureReport(Record):
    """`failure.json`: why a node failed, until somebody runs it again."""

    cure: ClassVar[str] = "remove the file and launch again; the node then counts as unfinished"

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


class RunNodeRecord(Record):
    """One node of a run in `run.json`."""

    name: str
    stage: str
    units: int
    artifact: str
    """Name of its folder."""
    gpu_hours: float | None = None
    """What the line is estimated to make it take in all; None if unknown."""


class RunRecord(Record):
    """`run.json`: the newest line of a work folder, and what it means."""

    cure: ClassVar[str] = "give the line of the launch again, which writes it anew"

    words: dict[str, str]
    recipe: str
    launcher: str = ""
    time: float = 0.0
    """Seconds since the epoch."""
    budget_gpu_hours: float | None = None
    nodes: tuple[RunNodeRecord, ...]
    """Inputs first."""


class WaitingNode(Record):
    """A node that is to be submitted once the cluster has room."""

    folder: str
    """Name of its artifact."""
    units: int
    spec: RoundSpec
    inputs: tuple[str, ...] = ()
    """Names of the artifacts that it takes in."""


class WaitingList(Record):
    """`feed.json`: the nodes of a work folder that wait for room, inputs first."""

    cure: ClassVar[str] = "remove the file and launch again, which finds what is missing"

    nodes: tuple[WaitingNode, ...] = ()


class Progress(Record):
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


class RankState(Record):
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


class SavedFile(Record):
    """A file of a checkpoint, as it was read back."""

    bytes: int
    digest: str
    """BLAKE2b of 128 bits, hexadecimal."""


class CheckpointCommit(Record):
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
