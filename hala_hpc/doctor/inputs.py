"""Whether the models and data of a recipe are on the disk, whole, without asking the network."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import UserError
from hala_hpc.core.hub import (
    fetch_command,
    hub_cache,
    hub_words,
    is_hub_off,
    not_fetched,
    repository_folder,
    snapshot_folder,
)
from hala_hpc.doctor.findings import Finding, State
from hala_hpc.engines.models.files import missing_parts

WHY_OFFLINE = "compute nodes work offline: the jobs that need it would fail after their wait"
WHY_ONLINE = "jobs fetch it themselves (HF_HUB_OFFLINE=0), each of them, while their GPUs wait"


def input_findings(steps: Iterable[Step], environment: Mapping[str, str]) -> list[Finding]:
    """What the missing nodes of a plan take from the hub and from the disk."""
    missing = [step for step in steps if step.state != "done"]
    words = hub_words(step.node.settings for step in missing)
    absent = not_fetched(words, environment)
    cache = hub_cache(environment)
    state: State
    offline = is_hub_off(environment, default=True)
    state, why = ("bad", WHY_OFFLINE) if offline else ("warn", WHY_ONLINE)
    found = [
        Finding(
            "inputs",
            state,
            f"{name} ({kind}) is not in the hub cache {cache}",
            why,
            fetch_command(kind, name),
        )
        for kind, name in absent
    ]
    found += [fetched(kind, name, cache) for kind, name in words if (kind, name) not in absent]
    return found + [finding for step in missing for finding in own_words(step)]


def fetched(kind: str, name: str, cache: Path) -> Finding:
    """Whether what the hub cache holds of a model or data set is whole."""
    folder = repository_folder(cache, kind, name)
    shot = snapshot_folder(folder) or folder
    faults = [f"{one.name} leads nowhere" for one in shot.rglob("*") if not one.exists()]
    faults += [f"{one.name} was begun" for one in (folder / "blobs").glob("*.incomplete")]
    if kind == "models":
        faults += missing_parts(shot)
    elif not any(one.is_file() for one in shot.rglob("*")):
        faults.append("no files")
    if faults:
        what = f"{name} ({kind}) in {shot} is not whole: {'; '.join(faults[:5])}"
        return Finding("inputs", "bad", what, WHY_OFFLINE, fetch_command(kind, name))
    return Finding("inputs", "good", f"{name} ({kind}) is in {shot}", "no network is needed")


def own_words(step: Step) -> list[Finding]:
    """What a stage has against its settings and its local files."""
    try:
        texts = step.stage().preflight()
    except UserError as error:
        texts = error.mistakes
    return [
        Finding("inputs", "bad", f"{step.name}: {text}", "the node would fail", "see the text")
        for text in texts
    ]
