"""Records of a work folder: what launches, workers and gates write for each other.

One type for each kind of file, with one reader and one writer (`core.record`). `core.artifact`
knows the paths in a node's folder. Only settings, and figures that a stage reports, are open dicts.
"""

import os
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from hala_hpc.core.code_version import CodeVersion, LaunchedCode
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.resources import Resources
from hala_hpc.core.sharing import user_name


class LaunchLease(JsonRecord):
    """`launch.lease`: the process that may submit in a work folder."""

    fix: ClassVar[str] = "remove the file if no launch is running in this folder"

    host: str
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    """Bounded, as a signal to another number would reach other processes."""
    since: str
    """Local time, for people."""
    holder: Literal["launch", "gate"] = "launch"
    """What holds it: a command on a login node, or the gate of a node."""
    token: str = ""
    """Unique to this holder: process numbers and hostnames are reused."""


class ExcludedNode(JsonRecord):
    """A node that a round excludes, as an earlier one found it bad."""

    name: str
    since: float = 0.0
    """When it was found bad, in seconds since the epoch."""
    until_boot: bool = False
    """Whether only a reboot clears it, as the job found it bad and not SLURM."""

    @model_validator(mode="before")
    @classmethod
    def _read_name(cls, value: Any) -> Any:
        """Read rounds up to November 2026, which stored names only."""
        return {"name": value} if isinstance(value, str) else value


class RoundSpec(LaunchedCode):
    """What the jobs of a round and of later ones need to know.

    The settings are here as well as in `config.json`: those that do not change the result may
    differ in each launch.
    """

    launcher: Launcher
    env: str
    settings: dict[str, Any]
    """All settings but the resources, as JSON values."""
    resources: Resources
    rounds_without_progress: int = 0
    """Consecutive rounds before this one without progress."""
    infrastructure_failures: int = 0
    """Consecutive rounds before this one that the cluster alone ended, without progress."""
    since_round: int | None = None
    """The first round since a person launched; None for that round itself."""
    because: tuple[str, ...] = ()
    """What this round does differently from the one before, and why."""
    bad_nodes: tuple[ExcludedNode, ...] = ()
    """Nodes that are excluded in addition to those of the launcher."""
    user: str = ""
    """Login name of who launched it. In a shared folder a job of another user submits nothing by
    it: setup lines and interpreter are those of the acting member."""

    def is_of_another_user(self) -> bool:
        """Whether another user launched it."""
        return bool(self.user) and self.user != user_name(os.geteuid())

    @property
    def is_local(self) -> bool:
        """Whether the jobs run as children of the launch and not under a scheduler."""
        return self.launcher.backend == "local"

    @property
    def stage_settings(self) -> dict[str, Any]:
        """The values from which a stage makes its settings."""
        return {**self.settings, "resources": self.resources}


class Round(JsonRecord):
    """`rounds/0001.json`: the units of each worker, written before the jobs are submitted."""

    fix: ClassVar[str] = "run the launch command again, which begins another round"

    round: int
    key: str
    """Part of the names of the jobs, so that they are recognized."""
    assignment: tuple[tuple[int, ...], ...]
    """The units of each worker."""
    progress_before: tuple[str, ...]
    """Markers and checkpoints that existed."""
    began: float
    """Seconds since the epoch."""
    spec: RoundSpec

    @property
    def workers(self) -> int:
        """Number of workers."""
        return len(self.assignment)


class Jobs(JsonRecord):
    """`jobs.json`: ids of the newest jobs of a node."""

    fix: ClassVar[str] = "remove the file; active jobs are recognized by their names"

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


class RowCounts(JsonRecord):
    """Counts of rows and tokens. Rows in == rows out + rows rejected."""

    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0
    rows_rejected_content: int = 0
    """Of these, as far as the stage can tell, rows that are themselves the reason: neither model
    nor settings are at fault."""
    rejected: dict[str, int] = Field(default_factory=dict)
    """Rejected rows by reason."""
    tokens_in: int = 0
    tokens_out: int = 0


class UnitMarker(RowCounts, CodeVersion):
    """`done/00007.json`: a unit is done. Written last, after its files were read back."""

    fix: ClassVar[str] = "run the launch command again, which makes the unit again"
    required_keys: ClassVar[frozenset[str]] = frozenset(
        {"rows_in", "rows_out", "rows_rejected", "files"}
    )

    unit: int
    details: dict[str, Any] = Field(default_factory=dict)
    """Figures that the stage adds to the summary."""
    seconds: float = 0.0
    attempt: str = ""
    host: str = ""
    files: dict[str, int] = Field(default_factory=dict)
    """Size in bytes of each file of the unit."""
    sha256: dict[str, str] = Field(default_factory=dict)
    """Digest of each file; empty in markers up to November 2026."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of the libraries that made it."""


class StageSource(JsonRecord):
    """Where a stage that is not one of ours comes from; stored beside its name."""

    file: str = ""
    """Absolute path of the file that defines it; empty for an entry point."""
    entry_point: str = ""
    """`package.module:STAGE` of an installed package; empty for a file."""
    digest: str
    """SHA-256 of the source, hexadecimal."""


#: Source of a stage; None, and left out of the file, for one of ours.
MaybeSource = Annotated[StageSource | None, Field(exclude_if=lambda value: value is None)]

#: Kind of an input that is a file or folder outside the work folder.
PATH_INPUT = "path"
#: Kind of an input that is a model or data set of the hub.
HUB_INPUT = "hub"


class InputFacts(JsonRecord):
    """An input of a node in its `config.json`: another node, a path outside the work folder, or a
    repository of the hub."""

    kind: str
    """Kind of product of a node: model, corpus, ...; `path` for a file or folder; `hub`."""
    fingerprint: str
    """For the hub: the commit, empty if nothing was fetched when the node was launched."""
    artifact: Annotated[str | None, Field(exclude_if=lambda value: value is None)] = None
    """Name of the folder of the node; None for a path."""
    path: Annotated[str | None, Field(exclude_if=lambda value: value is None)] = None
    """Path of a file or folder; None for anything else."""
    repository: Annotated[str | None, Field(exclude_if=lambda value: value is None)] = None
    """models or datasets, for the hub; None for anything else."""


class NodeConfig(JsonRecord):
    """`config.json`: settings and inputs of a node, written once."""

    fix: ClassVar[str] = "run the launch command again, which writes it again"

    node: str
    stage: str
    version: int = 1
    """Of the stage."""
    stage_source: MaybeSource = None
    env: str = "main"
    fingerprint: str = ""
    units: int
    settings: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, InputFacts] = Field(default_factory=dict)
    """By name of the node, or by path as it was given."""
    gpu_hours_estimate: float | None = None
    """Estimate when the node was launched first; None if unknown."""

    @property
    def input_folders(self) -> list[str]:
        """Names of the artifact folders that the node reads."""
        return [facts.artifact for facts in self.inputs.values() if facts.artifact]


class NodeSummary(RowCounts):
    """`summary.json`: a node is done. Written last, by its gate."""

    fix: ClassVar[str] = "run the launch command again, which writes it again"
    required_keys: ClassVar[frozenset[str]] = frozenset({"rows_in", "rows_out", "rows_rejected"})

    node: str
    stage: str
    stage_source: MaybeSource = None
    fingerprint: str = ""
    units: int
    details: Any = None
    """Figures of the stage, as JSON values."""
    seconds: float = 0.0
    """Of all units together."""
    versions: dict[str, str] = Field(default_factory=dict)
    commit: str = ""
    """Commits of the code that made the units; `+` after one whose files were changed."""
    code_digests: tuple[str, ...] = ()
    """Digests of the code that made the units; several if it changed meanwhile."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """Fingerprints of the inputs; for the hub, the commit that was read."""
    seconds_wall: float = 0.0
    """From the first round to the summary."""
    rounds: int = 0
    because: tuple[str, ...] = ()
    """What later rounds did differently from the first, and why; also changed code, and files that
    its gate had no time to read again."""
    files: dict[str, int] | None = None
    """Size in bytes of each file of the output; None in summaries up to November 2026."""
    sha256: dict[str, str] = Field(default_factory=dict)
    """Digest of each file of the output."""


class RunNodeRecord(JsonRecord):
    """One node of a run in `run.json`."""

    name: str
    stage: str
    units: int
    artifact: str
    """Name of its folder."""
    gpu_hours: float | None = None
    """Estimated GPU hours in all, for this launch; None if unknown."""


class RunRecord(JsonRecord):
    """`run.json`: the newest launch of a work folder, and its nodes."""

    fix: ClassVar[str] = "run the launch command again, which writes it again"

    overrides: dict[str, str]
    recipe: str
    launcher: str = ""
    time: float = 0.0
    """Seconds since the epoch."""
    budget_gpu_hours: float | None = None
    nodes: tuple[RunNodeRecord, ...]
    """Inputs first."""


class PendingNode(JsonRecord):
    """A node that is to be submitted once the cluster accepts more jobs."""

    folder: str
    """Name of its artifact."""
    units: int
    spec: RoundSpec
    inputs: tuple[str, ...] = ()
    """Names of the artifacts that it reads."""


class WaitingList(JsonRecord):
    """`feed.json`: the nodes of a work folder that wait for the job limit, inputs first."""

    fix: ClassVar[str] = "run the launch command again, which finds what is missing"

    nodes: tuple[PendingNode, ...] = ()
