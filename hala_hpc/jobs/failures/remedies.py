"""Remedies that change the next round: exclude nodes, raise memory, reduce the batch."""

import math
from collections.abc import Callable, Mapping

from hala_hpc.core.errors import CONFIG
from hala_hpc.core.records import RoundSpec
from hala_hpc.core.settings import changed_values
from hala_hpc.core.stage import UnknownInputs
from hala_hpc.core.stage_registry import find_stage
from hala_hpc.jobs.failures.aftermath import Aftermath, NoRemedy, replace_resources
from hala_hpc.jobs.failures.excluded_nodes import exclude_nodes
from hala_hpc.jobs.failures.policy import POLICY, Action

#: Factor by which the next round raises the requested memory.
MORE_MEMORY = 1.5


def raise_memory(spec: RoundSpec, aftermath: Aftermath) -> RoundSpec:
    """The spec with 1.5 times the memory.

    The limit is the launcher's `mem_limit_gb` and the memory of the partition's nodes.

    Raises: NoRemedy if the memory is at its limit.
    """
    found = aftermath.with_action(Action.RAISE_MEMORY)
    if not found or spec.is_local:
        return spec
    now = spec.resources.mem_gb
    known_limits = (spec.resources.mem_limit_gb, aftermath.found.memory_limit_gb)
    limits = [limit for limit in known_limits if limit]
    more = min([math.ceil(now * MORE_MEMORY), *limits])
    if more <= now:
        raise NoRemedy(
            f"mem_gb={now} is too small, and at most {min(limits)} may be requested: "
            f"{found[0].text}; use fewer rows at once, or a partition with larger nodes",
            CONFIG,
            found[0].kind,
        )
    because = f"mem_gb is {more} instead of {now}: {found[0].text}"
    resources = spec.resources.model_copy(update={"mem_gb": more})
    return replace_resources(spec, resources, [because])


def reduce_batch(spec: RoundSpec, aftermath: Aftermath) -> RoundSpec:
    """The spec with half as many rows on a GPU at once.

    Raises: NoRemedy if it is a single row already.
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
            f"{meaning} with a single row at once: {found[0].text}; spread the model "
            "over more GPUs, or reduce its memory (see --help of the stage)",
            CONFIG,
            found[0].kind,
        )
    because = [f"{change.text}: {meaning}: {found[0].text}" for change in changes]
    values = smaller.model_dump(mode="json", exclude={"resources"})
    return spec.model_copy(update={"settings": values, "because": (*spec.because, *because)})


#: Functions by which actions change the spec of a round; other actions leave it unchanged.
REMEDIES: Mapping[Action, Callable[[RoundSpec, Aftermath], RoundSpec]] = {
    Action.EXCLUDE_NODE: exclude_nodes,
    Action.RAISE_MEMORY: raise_memory,
    Action.SMALLER_BATCH: reduce_batch,
}
