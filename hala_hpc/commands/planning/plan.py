"""Compare the nodes of a command line with the results on the disk. Reads small files only."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hala_hpc.commands.planning.hub_commits import hub_facts, pin_hub_commits
from hala_hpc.commands.planning.plan_inputs import (
    PlanInputs,
    facts_of_path,
    replace_inputs_by_facts,
)
from hala_hpc.core.artifact import Artifact, find_result_faults
from hala_hpc.core.damage import Damaged
from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.core.file_facts import FileFault
from hala_hpc.core.fingerprint import compute_fingerprint, is_fingerprint
from hala_hpc.core.hub import hub_cache
from hala_hpc.core.node import Node
from hala_hpc.core.records import (
    HUB_INPUT,
    InputFacts,
    NodeConfig,
    StageSource,
)
from hala_hpc.core.settings import rename_references
from hala_hpc.core.stage import Stage

if TYPE_CHECKING:
    from hala_hpc.core.job_records import CleanedParts


@dataclass(frozen=True)
class Step:
    """One node of a plan: its definition, the folder of its results, and its state."""

    node: Node
    artifact: Artifact
    fingerprint: str
    units: int
    inputs: dict[str, InputFacts]
    """Node name, path or reference to the hub of each input: kind, artifact folder, fingerprint."""
    state: str
    """done, damaged, cleaned, partial, new or stale."""
    done_units: int = 0
    reason: str = ""
    """Of a stale node, what changed since the newest older result; of a damaged one, what is wrong
    with its files; of a cleaned one, what needs it."""
    older: Artifact | None = None
    """Of a stale node, the newest older result."""
    cleaned: "CleanedParts | None" = None
    """Of a done node whose output was removed by `clean`, what was."""
    cache: Path | None = None
    """Hub cache that the jobs read; None if unknown."""

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.node.name

    @property
    def workers(self) -> int:
        """Number of workers that can be busy: at most the number of units."""
        return min(self.node.settings.resources.workers, self.units)

    def stage(self) -> Stage[Any]:
        """The stage with its settings, for planning; its inputs do not exist yet."""
        inputs = PlanInputs(self.inputs, self.artifact.folder.parent, self.cache)
        return self.node.stage(self.node.settings, inputs)

    def require_complete_inputs(self) -> None:
        """Refuse an incomplete result of another run that is named by its path.

        Raises: UserError (NO_INPUT).
        """
        for name, facts in self.inputs.items():
            if facts.path and (faults := find_result_faults(Path(facts.path))):
                raise UserError(
                    f"input {name} is incomplete: {summarize_faults(faults)}; run the launch "
                    "command that made it again, or copy all of it",
                    NO_INPUT,
                )

    def config(self, gpu_hours: float | None = None) -> NodeConfig:
        """Contents of `config.json`."""
        return NodeConfig(
            node=self.name,
            stage=self.node.stage.name,
            version=self.node.stage.version,
            stage_source=self.node.source,
            env=self.node.stage.env,
            fingerprint=self.fingerprint,
            units=self.units,
            settings=self.node.settings.model_dump(mode="json", exclude={"resources"}),
            inputs=self.inputs,
            gpu_hours_estimate=gpu_hours,
        )


def make_plan(
    nodes: dict[str, Node], work: Path, environment: Mapping[str, str] | None
) -> dict[str, Step]:
    """Fingerprint every node, inputs first, and determine its state.

    `environment`: variables of the jobs, which name the hub cache. None if unknown: the commits in
    the records of results are then assumed to be those in the hub cache.
    """
    steps: dict[str, Step] = {}
    older, cache = find_results(work), None if environment is None else hub_cache(environment)
    for name, node in nodes.items():
        inputs = input_facts(node, steps, cache)
        step = plan_step(node, inputs, work, older.get(name, []))
        steps[name] = replace(step, cache=cache)
    return steps


def plan_step(node: Node, known: dict[str, InputFacts], work: Path, older: list[Path]) -> Step:
    """Plan one node from the facts of its inputs; `older`: results of the node."""

    def fingerprint_with(inputs: Mapping[str, InputFacts]) -> str:
        return node_fingerprint(node, inputs)

    inputs = pin_hub_commits(known, started_results(older), fingerprint_with)
    digest = fingerprint_with(inputs)
    artifact = Artifact(work / f"{node.name}-{digest}")
    units = node.stage(node.settings, PlanInputs(inputs, work, None)).plan()
    state, done, reason, newest, cleaned = "new", 0, "", None, None
    try:
        if (summary := artifact.summary()) is not None:
            state, done = "done", units
            faults = artifact.output_faults(summary)
            cleaned = artifact.removed_output() if faults else None
            if faults and not cleaned:
                state, done = "damaged", count_whole_units(artifact)
                reason = summarize_faults(faults)
        elif os.path.lexists(artifact.config_file):
            state, done = "partial", units - len(artifact.missing_units(units))
        elif newest := newest_started_result(older):
            reason = describe_changes(sound_config(newest), node, inputs)
            state = "stale"
    except Damaged as error:
        state, reason = "damaged", error.mistakes[0]
    return Step(node, artifact, digest, units, inputs, state, done, reason, newest, cleaned)


def node_fingerprint(node: Node, inputs: Mapping[str, InputFacts]) -> str:
    """Fingerprint of stage, version, settings that change the result, and inputs."""
    fingerprints = {name: facts.fingerprint for name, facts in inputs.items()}
    settings = {
        key: replace_inputs_by_facts(rename_references(value, fingerprints), inputs)
        for key, value in node.settings.result_half().items()
    }
    return compute_fingerprint(
        [node.stage.name, node.stage.version, settings, *code_digest(node.source)]
    )


def count_whole_units(artifact: Artifact) -> int:
    """Count finished units that have all their files, by the sizes in their markers."""
    return sum(is_whole(artifact, unit) for unit in artifact.done_units())


def is_whole(artifact: Artifact, unit: int) -> bool:
    """Whether a unit has a valid marker and all its files, by their sizes."""
    try:
        marker = artifact.marker(unit)
    except Damaged:
        return False
    return marker is not None and not artifact.unit_faults(marker)


def sound_config(artifact: Artifact) -> NodeConfig | None:
    """Settings and inputs of an older result; None if they are damaged or unreadable."""
    return NodeConfig.read_if_valid(artifact.config_file)


def summarize_faults(faults: Sequence[FileFault]) -> str:
    """The first of some faults, and the number of the others."""
    more = f" and {len(faults) - 1} more files" if len(faults) > 1 else ""
    return f"{faults[0].text}{more}"


def code_digest(source: StageSource | None) -> list[str]:
    """The part of a fingerprint for the code of a stage: nothing for a stage of this package."""
    return [source.digest] if source else []


def input_facts(node: Node, steps: dict[str, Step], cache: Path | None) -> dict[str, InputFacts]:
    """Facts of all inputs of a node, by node name, path or reference to the hub."""
    facts: dict[str, InputFacts] = {}
    for setting, value, reference in node.settings.references():
        if value.startswith("@"):
            name = value[1:].partition("/")[0]
            step = steps[name]
            facts[name] = InputFacts(
                kind=step.node.stage.produces,
                artifact=step.artifact.folder.name,
                fingerprint=step.fingerprint,
            )
        else:
            found = facts_of_path(f"{node.name}.{setting}", value)
            if found := found or hub_facts(reference.kinds[0], value, cache):
                facts[value] = found
    return facts


def find_results(work: Path) -> dict[str, list[Path]]:
    """Result folders by node, from one listing of the work folder."""
    found: dict[str, list[Path]] = {}
    for path in work.iterdir() if work.is_dir() else ():
        name, _, digest = path.name.rpartition("-")
        if is_fingerprint(digest):
            found.setdefault(name, []).append(path)
    return found


def newest_started_result(older: list[Path]) -> Artifact | None:
    """The newest of some results that were started."""
    return next(started_results(older), None)


def started_results(older: list[Path]) -> Iterator[Artifact]:
    """Those of some results that were started, the newest first."""
    found = [Artifact(path) for path in older if Artifact(path).config_file.exists()]
    yield from sorted(found, key=lambda one: one.config_file.stat().st_mtime, reverse=True)


def describe_changes(
    config: NodeConfig | None, node: Node, inputs: Mapping[str, InputFacts]
) -> str:
    """Describe what changed since an older config: `t: 0.5 -> 0.7; input sft changed`."""
    if config is None:
        return ""
    changes = changed_settings(config.settings, node.settings.result_half())
    for name, facts in inputs.items():
        before = config.inputs.get(name)
        if facts.kind == HUB_INPUT:
            old = before.fingerprint if before else ""
            if old and facts.fingerprint and old != facts.fingerprint:
                changes.append(f"commit of {name}: {old[:8]} -> {facts.fingerprint[:8]}")
        elif before is None or before.fingerprint != facts.fingerprint:
            changes.append(f"input {name} changed")
    if config.version != node.stage.version:
        changes.append(f"stage version: {config.version} -> {node.stage.version}")
    if code_digest(config.stage_source) != code_digest(node.source):
        changes.append(f"code of stage {node.stage.name} changed")
    return "; ".join(changes) or "a file of the same name changed"


def changed_settings(old: Any, new: dict[str, Any], prefix: str = "") -> list[str]:
    """Describe each value of `new` that differs in `old`: `engine.temperature: 0.0 -> 0.5`.

    `old` may hold more: settings that do not change the result.
    """
    before, changes = old if isinstance(old, dict) else {}, []
    for key, value in new.items():
        if isinstance(value, dict) and value and isinstance(before.get(key), dict):
            changes += changed_settings(before[key], value, f"{prefix}{key}.")
        elif before.get(key) != value:
            changes.append(f"{prefix}{key}: {abbreviate(before.get(key))} -> {abbreviate(value)}")
    return changes


def abbreviate(value: Any) -> str:
    """A value in at most 40 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."
