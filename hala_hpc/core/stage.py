"""The interface of a stage: settings, a plan of units, and code to run, check and collect them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from hala_hpc.core.errors import INTERNAL, TransientError, UserError
from hala_hpc.core.estimate import Estimate, EstimateInputs
from hala_hpc.core.files import link_tree
from hala_hpc.core.hub_dependency import HubDependency, HubSite
from hala_hpc.core.records import NodeSummary, UnitMarker
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import StageSettings

S = TypeVar("S", bound=StageSettings)


@dataclass(frozen=True)
class UnitCounts:
    """Counts of a finished unit. Rows in == rows out + rows rejected, or it is not finished."""

    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0
    rows_rejected_content: int = 0
    """Of these, as far as the stage can tell, rows that are themselves the reason: neither model
    nor settings are at fault."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Rejected rows by reason; sums to `rows_rejected`."""
    tokens_in: int = 0
    tokens_out: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    """Figures for the summary: scores, a loss curve, sizes. JSON values."""

    def verify(self) -> None:
        """Raise UserError (INTERNAL) if rows were lost or made up."""
        if self.rows_in != self.rows_out + self.rows_rejected:
            raise UserError(
                f"{self.rows_in} rows in, but {self.rows_out} out and {self.rows_rejected} "
                "rejected: rows were lost or made up; the unit gets no marker",
                INTERNAL,
            )
        if sum(self.rejected.values()) != self.rows_rejected:
            raise UserError(
                f"{self.rows_rejected} rows rejected, but the reasons count "
                f"{sum(self.rejected.values())}: {self.rejected}",
                INTERNAL,
            )
        if self.rows_rejected_content > self.rows_rejected:
            raise UserError(
                f"{self.rows_rejected} rows rejected, {self.rows_rejected_content} of them for "
                "their content",
                INTERNAL,
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Inputs(Protocol):
    """The inputs of a node, inside a job."""

    def path(self, reference: str) -> str:
        """Path of `@node`, `@node/sub` or a local file; for a hub id the snapshot that jobs read.

        A hub id that is not fetched, e.g. on a login node before a fetch, is returned unchanged.
        """
        ...

    def summary(self, reference: str) -> NodeSummary | None:
        """Summary of the node behind `@node`; None for anything else."""
        ...


class UnknownInputs:
    """Inputs for code that needs only the settings of a stage."""

    def path(self, reference: str) -> str:
        """The reference itself."""
        return reference

    def summary(self, _reference: str) -> NodeSummary | None:
        """None: nothing is known."""
        return None


class UnitContext(Protocol):
    """Where the results of a unit go, and what a stage must know about its job."""

    rank: int
    world_size: int
    worker: int
    """Number of the worker among those of the node, from 0."""
    attempt: str
    """Name of this attempt; no other attempt has it."""
    shared: Path
    """Folder that all workers of the node read; each writes a file of its own."""
    cache: Path
    """Folder of the whole run for what any job may use again: compiled code."""

    def folder(self, unit: int) -> Path:
        """Empty folder of this attempt for the files of a unit (the same for all ranks)."""
        ...

    def state_dir(self, unit: int) -> Path:
        """Folder that outlives the attempt: checkpoints, finished rows of an unfinished unit."""
        ...

    def check_lease(self) -> None:
        """Raise LeaseLost if a newer attempt has begun; call it before writing to `state_dir`."""
        ...

    def read_new_log(self) -> str:
        """The end of what was added to the worker's log since the last call."""
        ...

    def abort(self, error: TransientError) -> None:
        """End this process at once, from any thread; the supervisor tries again elsewhere."""
        ...

    def commit(self, unit: int) -> None:
        """Check and publish the unit's files, and write the marker. Rank 0 only; first one wins."""
        ...

    def report_progress(self, **counts: float) -> None:
        """Set counts for people: rows, rows_of_node, tokens, step, steps_total, loss.

        A worker that does not know the rows of the node reports its own as rows_of_worker.
        """
        ...

    @property
    def stop_requested(self) -> bool:
        """Whether the job must stop: commit what is safe and return."""
        ...

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the job's time limit; None if unknown."""
        ...


class Stage(Generic[S]):
    """A kind of step. One file defines it and its settings, in `hala_hpc/stages/` or a lab's own.

    `plan` and `preflight` run on the login node before the inputs exist; `run` and `check` run in
    jobs and import heavy libraries inside; `collect` runs in the gate and stays light.
    """

    name: ClassVar[str]
    """Name of the stage, as in `stage=translate`."""
    produces: ClassVar[str]
    """Kind of product: model, corpus, files, tokens, scores or page."""
    extra_outputs: ClassVar[tuple[str, ...]] = ()
    """What else `@node/name` may name beside the product, of the same kind."""
    env: ClassVar[str] = "main"
    """Environment that the jobs need: main or quantize."""
    Settings: ClassVar[type[StageSettings]]
    """Class of the settings. Its `resources` default is what the stage needs."""
    work_stealing: ClassVar[bool] = False
    """Whether a worker that has finished its own units continues with those of slower workers."""
    reads_weights: ClassVar[bool] = True
    """Whether jobs read the weights of the models that the settings name, not tokenizers only."""
    version: ClassVar[int] = 1
    """Part of the fingerprint; raised when the same settings give another result."""

    def __init__(self, settings: S, inputs: Inputs) -> None:
        self.settings = settings
        self.inputs = inputs

    @property
    def resources(self) -> Resources:
        """What each job of the node gets."""
        return self.settings.resources

    @classmethod
    def outputs_beside(cls, settings: StageSettings) -> tuple[str, ...]:
        """What `@node/name` may name beside the product with these settings, of the same kind."""
        del settings
        return cls.extra_outputs

    def plan(self) -> int:
        """Number of units, known from the settings alone."""
        return 1

    def preflight(self) -> list[str]:
        """Mistakes that can be found on the login node without the inputs; one line each.

        Raises: UserError for a mistake that needs an exit code of its own.
        """
        return []

    def hub_dependencies(self, site: HubSite) -> list[HubDependency]:
        """What the jobs read from the hub beside the references in the settings, with its state.

        For login nodes: quick, without a network and heavy imports. Returns all dependencies,
        complete or not. Models and data sets that settings name, and `kernels`, are not the stage's
        concern.
        """
        del site
        return []

    def data_names(self, names: Sequence[str], card: str = "", reference: str = "") -> list[str]:
        """Select the paths that the jobs read from all files of a data set on the hub.

        `card` is the text of its card, empty if it has none; `reference` is the data set as the
        settings name it. Raises: UserError if there are none.
        """
        del card, reference
        return list(names)

    def kernels(self, python: str) -> list[str]:
        """Kernels of the hub that the jobs load, as transformers names them.

        `owner/name`, optionally with `@revision` or `:function`. They are fetched and checked as
        models are; they are no inputs of the node. `python`: interpreter of the environment main,
        where a package may have a kernel already.
        """
        del python
        return []

    def fetch_hub_dependencies(self, site: HubSite, print_line: Callable[[str], None]) -> None:
        """Fetch those of `hub_dependencies` that are not complete; `print_line` prints progress.

        Runs on a login node, with a network, in the interpreter of the environment main, and with
        `site.environment` as the variables of the process. What was fetched before an error stays.

        Raises: UserError (UNAVAILABLE), or (NO_INPUT) for what the hub does not have.
        """
        del site, print_line

    def open_offline(self) -> list[str]:
        """Open what the jobs read, with the functions that they use; one line for each mistake.

        Runs after a fetch, in a process without a network and with the variables of a job, in the
        environment main. Outputs of other nodes do not exist yet. No weights are loaded. A
        UserError counts as mistakes, too.
        """
        return []

    def estimate(self, inputs: EstimateInputs) -> Estimate | None:
        """Estimate on the login node what the node will take and produce; None if unknown.

        Every stage defines it: one that has no estimate says why in the docstring.
        """
        del inputs
        return None

    def rehearsed(self) -> StageSettings:
        """The settings of a rehearsal of the node: fewer rows, steps or questions, the same work.

        The same settings if the work does not shrink with its rows: then a rehearsal makes the real
        result, which the full run uses.
        """
        return self.settings

    def settings_in_sweep(self, others: Sequence[StageSettings]) -> StageSettings:
        """The settings, told of other nodes of a sweep that the same launch runs.

        Only settings that leave the result as it is may change: what such nodes do once for all.
        """
        del others
        return self.settings

    def smaller_batch(self, world_size: int) -> StageSettings | None:
        """The settings with half as many rows at once on a GPU, after its memory was too small.

        Only settings that do not change the result may differ. The same settings if a single row is
        at once already; None if no setting controls it.
        """
        del world_size
        return None

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Make the units, committing each when finished; return early if `out.stop_requested`.

        With `work_stealing`, a unit is this worker's only once it is taken from `units`.
        """
        raise NotImplementedError

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Read back the files of a unit and count them; raise if they are not valid."""
        raise NotImplementedError

    def collect(self, markers: list[UnitMarker], folders: list[Path], output: Path) -> Any:
        """Fill `output` from the folders of all units; return JSON details for the summary.

        Return `CollectResult` with such details if rows are removed that the units had accepted.
        """
        for folder in folders:
            link_tree(folder, output)
        return markers[0].details if len(markers) == 1 else {}

    @classmethod
    def summary_line(cls, details: Mapping[str, Any]) -> str:
        """The line of a report about the model that a node made, from the details of its summary.

        Empty if there is nothing to report.
        """
        del details
        return ""


@dataclass(frozen=True)
class CollectResult:
    """Returned by `collect` of a stage that removes rows which the units had accepted.

    Which rows are best is known only once all are there. The summary counts removed rows as
    rejected, so that rows in == rows out + rows rejected holds for the output, too.
    """

    details: Any
    """JSON details for the summary, as `collect` returns them otherwise."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Removed rows, by reason."""
