"""Find which commit of the hub a node reads, and which result was made from it.

A commit is part of a fingerprint: a repository that changed and was fetched again is a changed
input. But finished results stay valid when the hub cache knows less or more than before:
 - Removed from the cache: the commit of the newest result is assumed.
 - Launched before anything was fetched (online jobs, HF_HUB_OFFLINE=0): the fingerprint of the
   result has the bare name. The result stays valid until another commit is known.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.hub import (
    HUB_NAMES,
    fetched_commit,
    is_hub_id,
    parse_hub_reference,
    repository_folder,
)
from hala_hpc.core.records import HUB_INPUT, InputFacts, NodeConfig, NodeSummary

Inputs = Mapping[str, InputFacts]


def hub_facts(kind: str, value: str, cache: Path | None) -> InputFacts | None:
    """Facts of a reference to a product of a kind, with its commit in a hub cache.

    The commit is empty if nothing is fetched or no cache is known. None for a value that names
    nothing on the hub.
    """
    if kind not in HUB_NAMES or not is_hub_id(value):
        return None
    name, revision = parse_hub_reference(value)
    repository = HUB_NAMES[kind]
    commit = fetched_commit(repository_folder(cache, repository, name), revision) if cache else None
    return InputFacts(kind=HUB_INPUT, repository=repository, fingerprint=commit or "")


def fingerprint_hub_input(value: str, facts: InputFacts) -> list[str] | str:
    """The part of a fingerprint for a reference: name and commit, else the reference as it is."""
    return [parse_hub_reference(value).name, facts.fingerprint] if facts.fingerprint else value


def pin_hub_commits(
    inputs: Inputs, results: Iterator[Artifact], fingerprint_of: Callable[[Inputs], str]
) -> dict[str, InputFacts]:
    """Inputs with the commits of a result that matches them, if any; `results` newest first."""
    hub_inputs = {name: facts for name, facts in inputs.items() if facts.kind == HUB_INPUT}
    for artifact in results if hub_inputs else ():
        config = NodeConfig.read_if_valid(artifact.config_file)
        if config is None:
            continue
        pinned = dict(inputs) | {
            name: facts.model_copy(update={"fingerprint": commit_of(config, name)})
            for name, facts in hub_inputs.items()
        }
        is_other = any(
            facts.fingerprint not in ("", commit_read(artifact, config, name))
            for name, facts in hub_inputs.items()
            if commit_read(artifact, config, name)
        )
        if not is_other and artifact.folder.name.endswith(f"-{fingerprint_of(pinned)}"):
            return pinned
    return dict(inputs)


def commit_of(config: NodeConfig, name: str) -> str:
    """The commit of an input when a node was launched; empty if it was unknown."""
    facts = config.inputs.get(name)
    return facts.fingerprint if facts else ""


def commit_read(artifact: Artifact, config: NodeConfig, name: str) -> str:
    """The commit that a result was made from by its records; empty if they lack it."""
    if known := commit_of(config, name):
        return known
    summary = NodeSummary.read_if_valid(artifact.summary_file)
    return summary.inputs.get(name, "") if summary else ""
