"""Whether the models and data of a recipe are on the disk, whole, without asking the network."""

from collections.abc import Iterable
from typing import Literal

from hala_hpc.commands.planning.hub_dependencies import find_hub_dependencies
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import UserError
from hala_hpc.core.hub import is_hub_offline
from hala_hpc.core.hub_dependency import HubDependency, HubSite
from hala_hpc.doctor.findings import Finding

WHY_OFFLINE = "compute nodes work offline: the jobs that need it would fail after their wait"
WHY_ONLINE = "jobs fetch it themselves (HF_HUB_OFFLINE=0), each of them, while their GPUs wait"
WHY_FAIL, SEE = "the node would fail", "see the text"


def input_findings(steps: Iterable[Step], site: HubSite, fetch: str) -> list[Finding]:
    """What the missing nodes of a plan take from the hub and from the disk.

    `fetch` is the line that fetches what is missing.
    """
    missing = [step for step in steps if step.state != "done"]
    offline = is_hub_offline(site.environment, default=True)
    state: Literal["bad", "warn"] = "bad" if offline else "warn"
    try:
        dependencies = find_hub_dependencies(missing, site)
    except UserError as error:
        dependencies = []
        found = [Finding("inputs", "bad", mistake, WHY_FAIL, SEE) for mistake in error.mistakes]
    else:
        found = [dependency_finding(dependency, state, fetch) for dependency in dependencies]
    return found + [one for step in missing for one in preflight_findings(step)]


def dependency_finding(
    dependency: HubDependency, state: Literal["bad", "warn"], fetch: str
) -> Finding:
    """Whether a model, a data set or what else is read from the hub is here, whole."""
    if dependency.problems:
        why = WHY_OFFLINE if state == "bad" else WHY_ONLINE
        return Finding("inputs", state, dependency.message, why, fetch)
    return Finding("inputs", "good", dependency.message, "no network is needed")


def preflight_findings(step: Step) -> list[Finding]:
    """What a stage has against its settings and its local files."""
    try:
        texts = step.stage().preflight()
    except UserError as error:
        texts = error.mistakes
    return [Finding("inputs", "bad", f"{step.name}: {text}", WHY_FAIL, SEE) for text in texts]
