"""What a round does differently from the one before: other nodes, more memory, less at once."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hala_hpc.core.errors import CONFIG, UNAVAILABLE, FailureClass
from hala_hpc.core.job_records import Failure
from hala_hpc.core.records import RoundSpec, StageSource
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import changed_values
from hala_hpc.core.stage import UnknownInputs
from hala_hpc.core.stage_registry import find_stage
from hala_hpc.jobs.failures.policy import BAD_NODES, POLICY, Action

#: How much more memory the next round asks for.
MORE_MEMORY = 1.5


class NoRemedy(Exception):
    """Another round would end as this one did; its text says why and names the cure."""

    def __init__(self, text: str, code: int, kind: FailureClass) -> None:
        self.code, self.kind = code, kind
        super().__init__(text)


@dataclass(frozen=True)
class Aftermath:
    """The failures of a round, and what its remedies must know beside them."""

    failures: Sequence[Failure]
    """Of the last round."""
    all_failures: Sequence[Failure]
    """Of all rounds since a person asked."""
    memory_limit_gb: int | None
    """The most that the cluster lets a job ask for; None if unknown."""
    stage: str
    stage_source: StageSource | None = None
    """None for one of our stages."""

    def with_action(self, action: Action) -> list[Failure]:
        """Failures of the last round that ask for a remedy."""
        return [failure for failure in self.failures if POLICY[failure.kind].action is action]


def exclude_nodes(spec: RoundSpec, aftermath: Aftermath) -> RoundSpec:
    """The spec with the bad nodes of this round excluded.

    A job of several nodes of which one was lost excludes none: the scheduler knows which it was.

    Raises: NoRemedy where they cannot be excluded.
    """
    if spec.is_local:
        return spec
    bad = bad_nodes(aftermath)
    options = spec.resources.options
    before = [name for name in options.get("exclude", "").split(",") if name]
    # Only what we excluded is counted, by the names of nodes: the launcher's may be ranges.
    ours = dict.fromkeys([*spec.bad_nodes, *bad])
    new = [name for name in bad if name not in before]
    if not new:
        return spec
    first = bad[new[0]]
    if len(ours) > BAD_NODES.limit:
        text = f"{len(ours)} nodes failed ({', '.join(ours)}): {first.text}"
        raise NoRemedy(text, UNAVAILABLE, first.kind)
    if options.get("nodelist"):
        raise NoRemedy(
            f"{', '.join(new)} cannot be left out, as options.nodelist={options['nodelist']} asks "
            f"for these nodes: {first.text}",
            UNAVAILABLE,
            first.kind,
        )
    options = {**options, "exclude": ",".join([*before, *new])}
    because = [f"{name} is excluded: {bad[name].text}" for name in new]
    resources = spec.resources.model_copy(update={"options": options})
    changed = with_resources(spec, resources, because)
    return changed.model_copy(update={"bad_nodes": tuple(ours)})


def bad_nodes(aftermath: Aftermath) -> dict[str, Failure]:
    """Nodes to keep away from, with the failure that shows it."""
    bad = {
        failure.nodes[0]: failure
        for failure in aftermath.failures
        if is_of_one_node(failure) and POLICY[failure.kind].after == 1
    }
    several = [
        failure
        for failure in aftermath.all_failures
        if is_of_one_node(failure) and POLICY[failure.kind].after > 1
    ]
    ends = {(failure.nodes[0], failure.attempt): failure for failure in several}
    counts = Counter(node for node, _ in ends)
    for (node, _), failure in ends.items():
        if counts[node] >= POLICY[failure.kind].after:
            text = f"the engine ended {counts[node]} times there: {failure.text}"
            bad.setdefault(node, failure.model_copy(update={"text": text}))
    return bad


def is_of_one_node(failure: Failure) -> bool:
    """Whether a node may be to blame, and it is known which."""
    return POLICY[failure.kind].action is Action.EXCLUDE_NODE and len(failure.nodes) == 1


def raise_memory(spec: RoundSpec, aftermath: Aftermath) -> RoundSpec:
    """The spec with half as much memory again.

    The limit is the launcher's `mem_limit_gb`, and what the nodes of the partition have.

    Raises: NoRemedy where memory is at its limit.
    """
    found = aftermath.with_action(Action.RAISE_MEMORY)
    if not found or spec.is_local:
        return spec
    now = spec.resources.mem_gb
    limits = [limit for limit in (spec.resources.mem_limit_gb, aftermath.memory_limit_gb) if limit]
    more = min([math.ceil(now * MORE_MEMORY), *limits])
    if more <= now:
        raise NoRemedy(
            f"mem_gb={now} is too little, and {min(limits)} is the most that may be asked for: "
            f"{found[0].text}; take fewer rows at once, or a partition with larger nodes",
            CONFIG,
            found[0].kind,
        )
    because = f"mem_gb is {more} instead of {now}: {found[0].text}"
    resources = spec.resources.model_copy(update={"mem_gb": more})
    return with_resources(spec, resources, [because])


def reduce_batch(spec: RoundSpec, aftermath: Aftermath) -> RoundSpec:
    """The spec with half as many rows on a GPU at once.

    Raises: NoRemedy where it is a single one already.
    """
    found = aftermath.with_action(Action.SMALLER_BATCH)
    if not found:
        return spec
    meaning = POLICY[found[0].kind].meaning
    stage = find_stage(aftermath.stage, aftermath.stage_source)
    settings = stage.Settings.model_validate(spec.stage_settings)
    smaller = stage(settings, UnknownInputs()).smaller_batch(spec.resources.world_size)
    if smaller is None:
        return spec
    changes = changed_values(settings, smaller)
    if not changes:
        raise NoRemedy(
            f"{meaning} with a single row at once: {found[0].text}; share the model "
            "among more GPUs, or let it take less (see --help of the stage)",
            CONFIG,
            found[0].kind,
        )
    because = [f"{change.text}: {meaning}: {found[0].text}" for change in changes]
    values = smaller.model_dump(mode="json", exclude={"resources"})
    return spec.model_copy(update={"settings": values, "because": (*spec.because, *because)})


def with_resources(spec: RoundSpec, resources: Resources, because: Sequence[str]) -> RoundSpec:
    """The spec with other resources, and why."""
    reasons = (*spec.because, *because)
    return spec.model_copy(update={"resources": resources, "because": reasons})


#: How an action changes the spec of a round; those that are not here leave it as it is.
REMEDIES: Mapping[Action, Callable[[RoundSpec, Aftermath], RoundSpec]] = {
    Action.EXCLUDE_NODE: exclude_nodes,
    Action.RAISE_MEMORY: raise_memory,
    Action.SMALLER_BATCH: reduce_batch,
}
