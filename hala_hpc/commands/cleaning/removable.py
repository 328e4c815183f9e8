"""Find what may be removed from a work folder, and what must stay and why.

Nothing that an unfinished node or a report reads is offered. Outputs, and the checkpoints of
unfinished nodes, are offered for nodes that the user names.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import Damaged
from hala_hpc.core.errors import UserError, suggest_name
from hala_hpc.core.records import NodeConfig
from hala_hpc.core.run import Run, RunNode, all_nodes

#: Nodes of this stage are what a run is about; what they read stays.
REPORT_STAGE = "report"


class PartKind(StrEnum):
    """What can be removed."""

    UNITS = "units"
    """Units of finished nodes: their output is complete without them."""
    CHECKPOINTS = "checkpoints"
    """Checkpoints, finished rows and private files of attempts, of finished nodes; of unfinished
    ones if they are named."""
    OLD = "old"
    """Results of changed settings: the newest launch has another result of the same node."""
    OUTPUTS = "outputs"
    """Outputs of finished nodes that are named, if all their readers are done."""
    CACHE = "cache"
    """Compiled kernels, which jobs compile again in minutes."""


#: Without `kinds=`.
DEFAULT_KINDS = (PartKind.UNITS, PartKind.CHECKPOINTS, PartKind.OLD)


@dataclass(frozen=True)
class RemovablePart:
    """Folders of one node, or of the work folder, that may be removed together."""

    node: RunNode | None
    """None for the cache of the work folder."""
    kind: PartKind
    paths: tuple[Path, ...]
    """In the order of their removal."""

    @property
    def name(self) -> str:
        """Name of the node; of an older result, that of its folder."""
        return self.node.name if self.node else "-"

    @property
    def has_output(self) -> bool:
        """Whether the output of the node is among it."""
        return self.node is not None and self.node.artifact.output in self.paths


@dataclass(frozen=True)
class RequiredPart:
    """Something that was asked for and must stay."""

    name: str
    reason: str


@dataclass(frozen=True)
class CleaningPlan:
    """What would be removed from a work folder, and what must stay."""

    run: Run
    parts: list[RemovablePart]
    required: list[RequiredPart]


@dataclass(frozen=True)
class StoredNode:
    """A node in a work folder as far as its removal is concerned."""

    node: RunNode
    config: NodeConfig
    is_finished: bool
    is_whole: bool
    """Whether it is finished and its output is complete."""
    is_old: bool

    @property
    def artifact(self) -> Artifact:
        """Its folder."""
        return self.node.artifact

    @property
    def is_done(self) -> bool:
        """Whether a launch would leave it as it is."""
        return self.is_whole or (self.is_finished and self.artifact.removed_output() is not None)


def make_cleaning_plan(run: Run, kinds: Collection[PartKind], names: Sequence[str]) -> CleaningPlan:
    """Find what may be removed; `names`: only these nodes, stages or folders, if there are any.

    Raises: UserError for a name that means nothing, or for outputs without a name.
    """
    if PartKind.OUTPUTS in kinds and not names:
        raise UserError("kinds=outputs: name the nodes whose outputs may go, as node=english")
    stored = list(read_stored_nodes(run))
    plan = CleaningPlan(run, [], [])
    for one in select_stored_nodes(stored, names):
        for kind in PartKind:
            if kind in kinds:
                add_part(plan, one, kind, stored, is_named=bool(names))
    cache = run.work / "cache"
    if PartKind.CACHE in kinds and not names and cache.is_dir():
        plan.parts.append(RemovablePart(None, PartKind.CACHE, (cache,)))
    return plan


def read_stored_nodes(run: Run) -> Iterator[StoredNode]:
    """Every node of the folder that was begun. Damaged ones are left out: they stay as they are."""
    newest = {node.name: node.artifact.folder.name for node in run.nodes}
    for node in all_nodes(run):
        try:
            config, summary = node.artifact.config(), node.artifact.summary()
        except Damaged:
            continue
        if config is None:
            continue
        is_whole = summary is not None and not node.artifact.output_faults(summary)
        folder = node.artifact.folder.name
        is_old = newest.get(config.node, folder) != folder
        yield StoredNode(node, config, summary is not None, is_whole, is_old)


def select_stored_nodes(stored: list[StoredNode], names: Sequence[str]) -> list[StoredNode]:
    """The nodes that have one of some names, stages or folders; all without names."""
    found = []
    for name in names:
        matching = [
            one
            for one in stored
            if name in (one.config.node, one.config.stage, one.artifact.folder.name)
        ]
        if not matching:
            valid = sorted({text for one in stored for text in (one.config.node, one.config.stage)})
            raise UserError(f"node={name}: {suggest_name(name, valid, 'nodes and stages')}")
        found += [one for one in matching if one not in found]
    return found if names else stored


def add_part(
    plan: CleaningPlan, one: StoredNode, kind: PartKind, stored: list[StoredNode], is_named: bool
) -> None:
    """Add what a node has of one kind to the plan, or the reason why it stays."""
    paths = [path for path in list_paths(one, kind, is_named) if path.exists()]
    if not paths:
        return
    if one.artifact.output in paths and (reason := find_reader(one, stored)):
        plan.required.append(RequiredPart(one.node.name, reason))
    else:
        plan.parts.append(RemovablePart(one.node, kind, tuple(paths)))


def list_paths(one: StoredNode, kind: PartKind, is_named: bool) -> list[Path]:
    """Folders of a node that belong to a kind, in the order of their removal."""
    artifact = one.artifact
    units = artifact.unit_folder(0).parent
    leftovers = [artifact.state_root, artifact.shared, *artifact.attempts.glob("*/")]
    leftovers += artifact.folder.glob("output.*.tmp")
    if one.is_old:
        if kind is not PartKind.OLD:
            return []
        # Markers count for as long as there is a summary.
        first = artifact.output if one.is_finished else artifact.marker_file(0).parent
        return [first, units, *leftovers]
    if kind is PartKind.UNITS and one.is_whole:
        return [units]
    if kind is PartKind.CHECKPOINTS and (one.is_finished or is_named):
        return leftovers
    if kind is PartKind.OUTPUTS and one.is_finished:
        return [artifact.output, units]
    return []


def find_reader(one: StoredNode, stored: list[StoredNode]) -> str:
    """Why the output of a node must stay; empty if it may go."""
    if one.config.stage == REPORT_STAGE and not one.is_old:
        return "it is a report"
    for reader in stored:
        if reader.is_old or one.artifact.folder.name not in reader.config.input_folders:
            continue
        if reader.config.stage == REPORT_STAGE:
            return f"the report {reader.node.name} reads it"
        if not reader.is_done:
            return f"{reader.node.name} reads it and is not done"
    return ""
