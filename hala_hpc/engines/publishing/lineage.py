"""All that a result is made of: its nodes, and what these read from the hub or from folders."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.hub import fetched_commit, find_hub_cache, parse_hub_reference, repository_folder
from hala_hpc.core.records import HUB_INPUT, PATH_INPUT, InputFacts, NodeConfig, NodeSummary
from hala_hpc.engines.reporting.node_facts import NodeFacts, read_node_facts

#: Kinds of repositories whose card is looked for, by the name of the hub.
MODELS, DATASETS = "models", "datasets"


@dataclass(frozen=True)
class OuterInput:
    """An input of a result that no node of the run made."""

    name: str
    """`owner/name` on the hub, or the last part of a path."""
    repository: str
    """models or datasets; empty for a file or folder."""
    commit: str = ""
    """Of the hub; empty if unknown."""
    folder: Path | None = None
    """Where its files are; None if they are not on this machine."""
    used_by: str = ""
    """Name of the node that reads it."""


@dataclass(frozen=True)
class Lineage:
    """A result with all that it is made of."""

    result: NodeFacts
    nodes: tuple[NodeFacts, ...]
    """The nodes that it is made of, inputs first, the result last."""
    outer_inputs: tuple[OuterInput, ...]

    def names(self, repository: str) -> list[str]:
        """Ids on the hub of all models, or of all data sets."""
        found = (one.name for one in self.outer_inputs if one.repository == repository)
        return list(dict.fromkeys(found))


def trace_lineage(artifact: Artifact, environment: Mapping[str, str]) -> Lineage:
    """Follow the inputs of a finished result; `environment` has the hub cache of its jobs.

    Raises: Damaged if a record is damaged.
    """
    seen: dict[str, NodeFacts] = {}
    outer: dict[tuple[str, str], OuterInput] = {}
    visit(artifact, seen, outer, environment)
    nodes = tuple(seen.values())
    return Lineage(nodes[-1], nodes, tuple(outer.values()))


def visit(
    artifact: Artifact,
    seen: dict[str, NodeFacts],
    outer: dict[tuple[str, str], OuterInput],
    environment: Mapping[str, str],
) -> None:
    """Add a node after all that it reads; a result whose records are gone is left out."""
    summary = NodeSummary.read_if_valid(artifact.summary_file)
    if artifact.folder.name in seen or summary is None:
        return
    facts = read_node_facts(artifact.output, summary)
    if facts.config:
        visit_inputs(artifact.folder.parent, facts.config, seen, outer, environment)
    seen[artifact.folder.name] = facts


def visit_inputs(
    work: Path,
    config: NodeConfig,
    seen: dict[str, NodeFacts],
    outer: dict[tuple[str, str], OuterInput],
    environment: Mapping[str, str],
) -> None:
    """Add all that a node reads, and all that this is made of."""
    for reference, one in config.inputs.items():
        if one.artifact:
            visit(Artifact(work / one.artifact), seen, outer, environment)
        else:
            found = outer_input(reference, one, config.node, environment)
            outer.setdefault((found.repository, found.name), found)


def trace_outer_inputs(artifact: Artifact, environment: Mapping[str, str]) -> list[OuterInput]:
    """What the result of a node that still runs is made of, from outside of the run.

    Raises: Damaged if a record is damaged.
    """
    config = artifact.config()
    outer: dict[tuple[str, str], OuterInput] = {}
    if config is not None:
        visit_inputs(artifact.folder.parent, config, {}, outer, environment)
    return list(outer.values())


def outer_input(
    reference: str, facts: InputFacts, node: str, environment: Mapping[str, str]
) -> OuterInput:
    """What an input that is no node's result is, and where its files are."""
    if facts.kind == HUB_INPUT:
        name, revision = parse_hub_reference(reference)
        kind = facts.repository or MODELS
        repository = repository_folder(find_hub_cache(kind, environment), kind, name)
        commit = facts.fingerprint or fetched_commit(repository, revision) or ""
        snapshot = repository / "snapshots" / commit if commit else None
        is_here = snapshot is not None and snapshot.is_dir()
        return OuterInput(name, kind, commit, snapshot if is_here else None, node)
    path = Path(facts.path or reference)
    folder = path if path.is_dir() else path.parent
    # A path of this machine says nothing to others, and is nobody's business.
    is_path = facts.kind == PATH_INPUT and folder.is_dir()
    return OuterInput(path.name, "", folder=folder if is_path else None, used_by=node)


def iter_evaluations(
    lineage: Lineage, artifacts: list[Artifact]
) -> Iterator[tuple[NodeFacts, str]]:
    """The evaluations of a run that scored the result, with its label there."""
    name = lineage.result.name
    for artifact in artifacts:
        summary = NodeSummary.read_if_valid(artifact.summary_file)
        if summary is None or summary.stage != "evaluate":
            continue
        facts = read_node_facts(artifact.output, summary)
        for label, reference in (facts.settings.get("models") or {}).items():
            if str(reference) == f"@{name}":
                yield facts, str(label)
