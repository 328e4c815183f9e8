"""What a round may do differently from the one before: other nodes, more memory, smaller sizes."""

import importlib
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hala_hpc.core.errors import CONFIG, UNAVAILABLE
from hala_hpc.jobs.failures.classify import ENGINE, GPU_MEMORY, HOST_MEMORY, MEANING, NODE, Failure
from hala_hpc.failure_sizes import smaller_sizes

#: Ends of an engine on the same node after which others are taken.
ENGINE_ENDS = 2
#: Nodes that may be excluded: where more are bad, something else is the matter.
MOST_BAD_NODES = 8
#: How much more memory the next round asks for.
MORE_MEMORY = 1.5


class NoWay(Exception):
    """Another round would end as this one did; its text says why and names the cure."""

    def __init__(self, text: str, code: int) -> None:
        self.code = code
        super().__init__(text)


def avoiding_nodes(
    spec: dict[str, Any], failures: Sequence[Failure], all_failures: Sequence[Failure]
) -> dict[str, Any]:
    """The spec with the bad nodes of this round excluded. Raises NoWay where that is not possible.

    A job of several nodes of which one was lost excludes none: the scheduler knows which it was.
    """
    if spec["launcher"]["backend"] == "local":
        return spec
    bad = bad_nodes(failures, all_failures)
    options = spec["resources"]["options"]
    before = [name for name in options.get("exclude", "").split(",") if name]
    # Only what we excluded is counted, by the names of nodes: the launcher's may be ranges.
    ours = dict.fromkeys([*spec.get("bad_nodes", []), *bad])
    new = [name for name in bad if name not in before]
    if not new:
        return spec
    if len(ours) > MOST_BAD_NODES:
        raise NoWay(f"{len(ours)} nodes failed ({', '.join(ours)}): {bad[new[0]]}", UNAVAILABLE)
    if options.get("nodelist"):
        raise NoWay(
            f"{', '.join(new)} cannot be left out, as options.nodelist={options['nodelist']} asks "
            f"for these nodes: {bad[new[0]]}",
            UNAVAILABLE,
        )
    options = options | {"exclude": ",".join([*before, *new])}
    because = [f"{name} is excluded: {bad[name]}" for name in new]
    changed = with_resources(spec, {"options": options}, because)
    return changed | {"bad_nodes": list(ours)}


def bad_nodes(failures: Sequence[Failure], all_failures: Sequence[Failure]) -> dict[str, str]:
    """Nodes to keep away from, with the reason."""
    bad = {f.nodes[0]: f.text for f in failures if f.kind == NODE and len(f.nodes) == 1}
    ends = {(f.nodes[0], f.attempt): f.text for f in all_failures if is_engine_on_one_node(f)}
    counts = Counter(node for node, _ in ends)
    for (node, _), text in ends.items():
        if counts[node] >= ENGINE_ENDS:
            bad.setdefault(node, f"the engine ended {counts[node]} times there: {text}")
    return bad


def is_engine_on_one_node(failure: Failure) -> bool:
    """Whether an engine ended, and it is known where."""
    return failure.kind == ENGINE and len(failure.nodes) == 1


def with_more_memory(
    spec: dict[str, Any], failures: Sequence[Failure], site_limit_gb: int | None
) -> dict[str, Any]:
    """The spec with half as much memory again. Raises NoWay where it is at its limit.

    The limit is the launcher's `mem_limit_gb`, and what the nodes of the partition have.
    """
    found = [failure for failure in failures if failure.kind == HOST_MEMORY]
    if not found or spec["launcher"]["backend"] == "local":
        return spec
    now = int(spec["resources"]["mem_gb"])
    limits = [limit for limit in (spec["resources"].get("mem_limit_gb"), site_limit_gb) if limit]
    more = min([math.ceil(now * MORE_MEMORY), *limits])
    if more <= now:
        raise NoWay(
            f"mem_gb={now} is too little, and {min(limits)} is the most that may be asked for: "
            f"{found[0].text}; take fewer rows at once, or a partition with larger nodes",
            CONFIG,
        )
    because = f"mem_gb is {more} instead of {now}: {found[0].text}"
    return with_resources(spec, {"mem_gb": more}, [because])


def with_smaller_sizes(
    spec: dict[str, Any], failures: Sequence[Failure], stage: str
) -> dict[str, Any]:
    """The spec with half as many rows at once on a GPU. Raises NoWay where it is one already."""
    found = [failure for failure in failures if failure.kind == GPU_MEMORY]
    if not found:
        return spec
    settings_class = importlib.import_module(f"hala_hpc.stages.{stage}").STAGE.Settings
    world = spec["resources"]["nodes"] * spec["resources"]["ranks_per_node"]
    sizes = smaller_sizes(settings_class, spec["settings"], world)
    if sizes is None:
        return spec
    if not sizes:
        raise NoWay(
            f"{MEANING[GPU_MEMORY]} with a single row at once: {found[0].text}; share the model "
            "among more GPUs, or let it take less (see --help of the stage)",
            CONFIG,
        )
    settings, because = spec["settings"], list(spec["because"])
    for size in sizes:
        settings = size.put_into(settings)
        because.append(f"{size.words()}: {MEANING[GPU_MEMORY]}: {found[0].text}")
    return spec | {"settings": settings, "because": because}


def with_resources(
    spec: dict[str, Any], changes: dict[str, Any], because: Sequence[str]
) -> dict[str, Any]:
    """The spec with other resources, and why."""
    resources = spec["resources"] | changes
    return spec | {"resources": resources, "because": [*spec["because"], *because]}
