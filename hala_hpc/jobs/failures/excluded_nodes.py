"""Exclude bad nodes from a round until they are healthy again, and never most of a partition."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from hala_hpc.backends.slurm.node_states import find_candidate_nodes, find_recovered_nodes
from hala_hpc.backends.slurm.parsing import HOST, expand_hosts
from hala_hpc.core.errors import UNAVAILABLE, TransientError
from hala_hpc.core.job_records import Failure
from hala_hpc.core.records import ExcludedNode, RoundSpec
from hala_hpc.jobs.failures.aftermath import Aftermath, NoRemedy, replace_resources
from hala_hpc.jobs.failures.policy import BAD_NODES, POLICY, Action, Blame


class NodeAvailability(NamedTuple):
    """Answer of the cluster about the nodes of a round, when its gate asks."""

    max_excluded: int | None = None
    """How many nodes may be excluded; None if unknown."""
    healthy: tuple[str, ...] = ()
    """Excluded nodes that are healthy again."""


def query_nodes(spec: RoundSpec, failures: Sequence[Failure]) -> NodeAvailability:
    """Query the cluster about nodes if some are excluded or may be."""
    if spec.is_local or not (spec.bad_nodes or any(map(is_of_one_node, failures))):
        return NodeAvailability()
    theirs = options_without(spec, [node.name for node in spec.bad_nodes])
    try:
        candidates = find_candidate_nodes(theirs)
        max_excluded = (
            candidates.max_excluded(spec.resources.nodes) if candidates.all_nodes else None
        )
        return NodeAvailability(max_excluded, find_recovered_nodes(spec.bad_nodes))
    except TransientError:
        return NodeAvailability()


def restore_nodes(spec: RoundSpec, names: Collection[str], why: str) -> RoundSpec:
    """The spec without the exclusion of some nodes."""
    back = [node.name for node in spec.bad_nodes if node.name in names]
    if not back:
        return spec
    resources = spec.resources.model_copy(update={"options": options_without(spec, back)})
    because = [f"{name} is no longer excluded: {why}" for name in back]
    changed = replace_resources(spec, resources, because)
    left = tuple(node for node in spec.bad_nodes if node.name not in back)
    return changed.model_copy(update={"bad_nodes": left})


def restore_all_nodes(spec: RoundSpec) -> RoundSpec:
    """The spec that excludes only the nodes of the launcher."""
    names = [node.name for node in spec.bad_nodes]
    return restore_nodes(spec, names, "SLURM refuses the job if it is excluded")


def options_without(spec: RoundSpec, names: Collection[str]) -> dict[str, str]:
    """The options of a spec without some of the excluded nodes."""
    options = dict(spec.resources.options)
    # Entries of the launcher, which may be ranges, are unchanged.
    left = [entry for entry in HOST.findall(options.pop("exclude", "")) if entry not in names]
    return {**options, "exclude": ",".join(left)} if left else options


def exclude_nodes(spec: RoundSpec, aftermath: Aftermath) -> RoundSpec:
    """The spec with the bad nodes of this round excluded.

    A job that lost one of several nodes excludes none: SLURM knows which one it was.

    Raises: NoRemedy if they cannot be excluded.
    """
    if spec.is_local:
        return spec
    excluded = expand_hosts(spec.resources.options.get("exclude", ""))
    new = {name: bad for name, bad in bad_nodes(aftermath).items() if name not in excluded}
    if not new:
        return spec
    if named := spec.resources.options.get("nodelist"):
        require_no_bad_gpus(new, named)
        return spec
    found = [
        ExcludedNode(
            name=name, since=aftermath.found.time, until_boot=not bad.confirmed_by_scheduler
        )
        for name, bad in new.items()
    ]
    ours = [*spec.bad_nodes, *found]
    limit = max_excluded(aftermath)
    require_few(ours, new, limit)
    selected = select_excluded(ours, limit)
    back = {node.name for node in ours} - selected
    changed = restore_nodes(spec, back, f"at most {limit} nodes are excluded")
    added = [node for node in found if node.name in selected]
    return add_excluded(changed, added, new) if added else changed


def add_excluded(
    spec: RoundSpec, added: Sequence[ExcludedNode], bad: Mapping[str, Failure]
) -> RoundSpec:
    """The spec with more nodes excluded, and the reasons."""
    options = spec.resources.options
    entries = [*HOST.findall(options.get("exclude", "")), *(node.name for node in added)]
    options = {**options, "exclude": ",".join(entries)}
    resources = spec.resources.model_copy(update={"options": options})
    because = [f"{node.name} is excluded: {bad[node.name].text}" for node in added]
    changed = replace_resources(spec, resources, because)
    return changed.model_copy(update={"bad_nodes": (*spec.bad_nodes, *added)})


def require_no_bad_gpus(new: Mapping[str, Failure], named: str) -> None:
    """Check that no node of the launcher's nodelist needs a repair.

    Raises: NoRemedy if one does.
    """
    lasting = [name for name, bad in new.items() if not bad.confirmed_by_scheduler]
    if lasting:
        first = new[lasting[0]]
        raise NoRemedy(
            f"{', '.join(lasting)} cannot be excluded, as options.nodelist={named} requests "
            f"these nodes: {first.text}",
            UNAVAILABLE,
            first.kind,
        )


def max_excluded(aftermath: Aftermath) -> int:
    """How many nodes may be excluded besides those of the launcher."""
    known_limit = aftermath.found.max_excluded
    return BAD_NODES.limit if known_limit is None else min(known_limit, BAD_NODES.limit)


def require_few(ours: Sequence[ExcludedNode], new: Mapping[str, Failure], limit: int) -> None:
    """Check that no more nodes are bad, as found by jobs, than may be excluded.

    Nodes that SLURM saw fail come back, and a node is not surely at fault for an engine that
    ended: such nodes do not count.

    Raises: NoRemedy if more are bad.
    """
    lasting = [node.name for node in ours if node.until_boot]
    sure = [
        bad
        for bad in new.values()
        if POLICY[bad.kind].blames is Blame.CLUSTER and not bad.confirmed_by_scheduler
    ]
    if sure and len(lasting) > limit:
        raise NoRemedy(
            f"{len(lasting)} nodes failed ({', '.join(lasting)}), and at most {limit} may be "
            f"excluded here: {sure[0].text}",
            UNAVAILABLE,
            sure[0].kind,
        )


def select_excluded(ours: Sequence[ExcludedNode], limit: int) -> set[str]:
    """Select the nodes to exclude if not all may be: those that need a reboot, then the newest."""
    ranked = sorted(ours, key=lambda node: (node.until_boot, node.since))
    return {node.name for node in ranked[max(0, len(ranked) - limit) :]}


def bad_nodes(aftermath: Aftermath) -> dict[str, Failure]:
    """Nodes to exclude, each with the failure of this round that is the reason."""
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
    # Earlier failures of a node that came back do not count: it must fail again.
    now = {failure.nodes[0] for failure in aftermath.failures if is_of_one_node(failure)}
    for (node, _), failure in ends.items():
        if node in now and counts[node] >= POLICY[failure.kind].after:
            text = f"the engine died {counts[node]} times there: {failure.text}"
            bad.setdefault(node, failure.model_copy(update={"text": text}))
    return bad


def is_of_one_node(failure: Failure) -> bool:
    """Whether a single known node may be at fault."""
    return POLICY[failure.kind].action is Action.EXCLUDE_NODE and len(failure.nodes) == 1
