"""What the next round does differently after failures, and when there is no next round.

Each kind of failure has a policy: the same again, on another node, with more memory, with fewer
rows at once, or an end. Only what leaves the result as it is may change.
"""

import importlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import CONFIG, INTERNAL, OK, RETRY, UNAVAILABLE
from hala_hpc.core.files import read_json
from hala_hpc.failure_class import (
    BUG,
    CANCELLED,
    DATA,
    ENGINE,
    FOLLOWS,
    GPU_MEMORY,
    HOST_MEMORY,
    MEANING,
    NODE,
    PREEMPTED,
    SET_UP,
    Failure,
)
from hala_hpc.failure_evidence import failures_of
from hala_hpc.failure_sizes import smaller_sizes

#: Attempts that may end with the same traceback before there is no other.
SAME_TRACEBACKS = 3
#: Ends of an engine on the same node after which others are taken.
ENGINE_ENDS = 2
#: Nodes that may be excluded: where more are bad, something else is the matter.
MOST_BAD_NODES = 8
#: Rounds in a row without progress that only preemption or bad nodes ended. Each of them costs a
#: wait in the queue: where this many bring nothing, the queue lets no work be done.
BLAMELESS_ROUNDS = 30
#: How much more memory the next round asks for.
MORE_MEMORY = 1.5


@dataclass(frozen=True)
class Decision:
    """What follows from the failures of a round."""

    spec: dict[str, Any]
    """Of the next round; `because` in it tells what was changed, and why."""
    code: int = OK
    """Where there must be no next round, the exit code of the node; else 0."""
    reasons: tuple[str, ...] = ()
    """Why there must be none."""
    is_blameless: bool = False
    """Whether only the cluster is to blame: the round does not count as idle."""

    @property
    def has_changed(self) -> bool:
        """Whether the next round is another: this one does not count as idle."""
        return bool(self.spec["because"])


def adjusted_spec(artifact: Artifact, spec: dict[str, Any]) -> dict[str, Any]:
    """The spec of the round after the last one, changed as its failures ask for."""
    return decide(artifact, spec).spec


def decide(artifact: Artifact, spec: dict[str, Any]) -> Decision:
    """What follows from the failures that were noted of the rounds since a person asked.

    `spec` is that of the last round. Nothing is asked or written here, so that the same answer
    comes whenever it is called.
    """
    number = artifact.last_round()
    first = int(spec.get("since_round", number))
    rounds = [failures_of(artifact, one) for one in range(first, number + 1)]
    told = read_json(artifact.failures_file(number)) or {}
    base = {**spec, "since_round": first, "because": []}
    failures = [failure for failure in rounds[-1] if failure.kind != FOLLOWS]
    all_failures = [failure for one in rounds for failure in one]
    code, reasons = stop(artifact, failures, all_failures)
    if code != OK:
        return Decision(base, code, tuple(reasons))
    is_elsewhere = spec["launcher"]["backend"] != "local"
    blameless = bool(failures) and all(f.kind in (PREEMPTED, NODE) for f in failures)
    blameless = blameless and is_elsewhere
    stage = (artifact.config() or {}).get("stage", "")
    try:
        changed = avoiding_nodes(base, failures, all_failures)
        changed = with_more_memory(changed, failures, told.get("memory_limit_gb"))
        changed = with_smaller_sizes(changed, failures, stage)
    except NoWay as end:
        return Decision(base, end.code, (str(end),), blameless)
    return Decision(changed, is_blameless=blameless)


class NoWay(Exception):
    """Another round would end as this one did; its text says why and names the cure."""

    def __init__(self, text: str, code: int) -> None:
        self.code = code
        super().__init__(text)


def stop(
    artifact: Artifact, failures: Sequence[Failure], all_failures: Sequence[Failure]
) -> tuple[int, list[str]]:
    """Code and reasons where another attempt cannot help; (0, []) where it may."""
    for failure in failures:
        if failure.kind in (DATA, SET_UP):
            record = read_json(artifact.attempt_file(failure.attempt)) or {}
            return int(record.get("code", INTERNAL)), list(record.get("reasons", [failure.text]))
    cancelled = [failure.text for failure in failures if failure.kind == CANCELLED]
    if cancelled:
        return RETRY, [
            f"{len(cancelled)} of its jobs were cancelled: {cancelled[0]}; the same line goes on"
        ]
    signature, count = most_common_traceback(all_failures)
    if count >= SAME_TRACEBACKS:
        text = next(f.text for f in all_failures if f.signature == signature)
        return INTERNAL, [f"{count} attempts ended with the same traceback, {signature}: {text}"]
    return OK, []


def most_common_traceback(failures: Iterable[Failure]) -> tuple[str, int]:
    """The traceback that ended most attempts, and how many; ranks of an attempt count once."""
    ends = {(f.signature, f.attempt) for f in failures if f.kind == BUG and f.signature}
    counted = Counter(signature for signature, _ in ends).most_common(1)
    return counted[0] if counted else ("", 0)


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


def changes_of(artifact: Artifact, first: int = 1) -> list[str]:
    """What rounds from this one on did differently from those before them, and why."""
    rounds = (artifact.round(number) for number in range(first, artifact.last_round() + 1))
    return [text for one in rounds for text in one.get("spec", {}).get("because", [])]


def newest_changes(artifact: Artifact) -> list[str]:
    """What was changed since a person asked last, and why."""
    last = artifact.last_round()
    spec = artifact.round(last).get("spec", {})
    return changes_of(artifact, spec["since_round"]) if spec.get("since_round") else []
