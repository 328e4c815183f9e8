"""Check that the models and data of a recipe are complete on disk, without network access."""

from collections.abc import Iterable
from typing import Literal

from hala_hpc.commands.planning.hub_dependencies import find_hub_dependencies
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import UserError
from hala_hpc.core.hub import is_hub_offline
from hala_hpc.core.hub_dependency import HubDependency, HubSite
from hala_hpc.doctor.findings import Finding

WHY_OFFLINE = (
    "compute nodes work offline: jobs that need it would fail after their wait in the queue"
)
WHY_ONLINE = "each job downloads it itself (HF_HUB_OFFLINE=0), while its GPUs are idle"
WHY_FAIL, SEE = "the node would fail", "see the message"


def input_findings(steps: Iterable[Step], site: HubSite, fetch: str) -> list[Finding]:
    """Findings about the inputs of unfinished nodes, from the hub and from disk.

    `fetch` is the command that downloads what is missing.
    """
    missing = [step for step in steps if step.state != "done"]
    offline = is_hub_offline(site.environment, default=True)
    state: Literal["error", "warn"] = "error" if offline else "warn"
    try:
        dependencies = find_hub_dependencies(missing, site)
    except UserError as error:
        dependencies = []
        found = [Finding("inputs", "error", mistake, WHY_FAIL, SEE) for mistake in error.mistakes]
    else:
        found = [dependency_finding(dependency, state, fetch) for dependency in dependencies]
    return found + [one for step in missing for one in preflight_findings(step)]


def dependency_finding(
    dependency: HubDependency, state: Literal["error", "warn"], fetch: str
) -> Finding:
    """Whether a model, data set or other dependency on the hub is complete in the cache."""
    if dependency.problems:
        why = WHY_OFFLINE if state == "error" else WHY_ONLINE
        return Finding("inputs", state, dependency.message, why, fetch)
    return Finding("inputs", "good", dependency.message, "no network access is needed")


def preflight_findings(step: Step) -> list[Finding]:
    """Errors of a stage's preflight: settings and local files."""
    try:
        texts = step.stage().preflight()
    except UserError as error:
        texts = error.mistakes
    return [Finding("inputs", "error", f"{step.name}: {text}", WHY_FAIL, SEE) for text in texts]
