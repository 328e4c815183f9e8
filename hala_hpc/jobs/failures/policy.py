"""What the next round does differently after failures, and when there is no next round.

Each kind of failure has a policy: the same again, on another node, with more memory, with fewer
rows at once, or an end. Only what leaves the result as it is may change.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import INTERNAL, OK, RETRY
from hala_hpc.core.files import read_json
from hala_hpc.jobs.failures.remedies import NoWay, avoiding_nodes, with_more_memory, with_smaller_sizes
from hala_hpc.jobs.failures.classify import (
    BUG,
    CANCELLED,
    DATA,
    FOLLOWS,
    NODE,
    PREEMPTED,
    SET_UP,
    Failure,
)
from hala_hpc.jobs.failures.evidence import failures_of

#: Attempts that may end with the same traceback before there is no other.
SAME_TRACEBACKS = 3
#: Rounds in a row without progress that only preemption or bad nodes ended. Each of them costs a
#: wait in the queue: where this many bring nothing, the queue lets no work be done.
BLAMELESS_ROUNDS = 30


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


def changes_of(artifact: Artifact, first: int = 1) -> list[str]:
    """What rounds from this one on did differently from those before them, and why."""
    rounds = (artifact.round(number) for number in range(first, artifact.last_round() + 1))
    return [text for one in rounds for text in one.get("spec", {}).get("because", [])]


def newest_changes(artifact: Artifact) -> list[str]:
    """What was changed since a person asked last, and why."""
    last = artifact.last_round()
    spec = artifact.round(last).get("spec", {})
    return changes_of(artifact, spec["since_round"]) if spec.get("since_round") else []
