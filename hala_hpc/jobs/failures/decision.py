"""Decide what follows from the failures of a round: another round, maybe changed, or none."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import CONFIG, INTERNAL, OK, RETRY, FailureClass
from hala_hpc.core.job_records import Failure, FailureReason
from hala_hpc.core.records import RoundSpec
from hala_hpc.jobs.attempt_records import find_failed_record
from hala_hpc.jobs.failures.aftermath import Aftermath, NoRemedy
from hala_hpc.jobs.failures.evidence import recorded_failures, round_failures
from hala_hpc.jobs.failures.excluded_nodes import restore_nodes
from hala_hpc.jobs.failures.policy import POLICY, Action, Blame, Counted
from hala_hpc.jobs.failures.remedies import REMEDIES

#: Exit codes of a node for failure classes without a record of an attempt.
CODES = {FailureClass.CONFIG_ERROR: CONFIG}


@dataclass(frozen=True)
class Decision:
    """The decision about the next round of a node."""

    spec: RoundSpec
    """Spec of the next round; its `because` lists the changes with their reasons."""
    code: int = OK
    """Exit code of the node if there must be no next round; else 0."""
    reasons: tuple[FailureReason, ...] = ()
    """Why there must be no next round."""
    is_blameless: bool = False
    """Whether only the cluster caused the failures: the round does not count as idle."""
    has_changed: bool = False
    """Whether a remedy changes the next round: this one does not count as idle."""


def adjusted_spec(artifact: Artifact, spec: RoundSpec) -> RoundSpec:
    """The spec of the next round, changed by the remedies for the failures of the last one."""
    return decide(artifact, spec).spec


def decide(artifact: Artifact, spec: RoundSpec) -> Decision:
    """Decide by the recorded failures of the rounds since the last launch.

    `spec` is that of the last round. Queries and writes nothing, so that every call gives the same
    decision.
    """
    number = artifact.last_round()
    first = spec.since_round or number
    rounds = [recorded_failures(artifact, one) for one in range(first, number + 1)]
    config, found = artifact.config(), round_failures(artifact, number)
    aftermath = Aftermath(
        failures=[one for one in rounds[-1] if one.kind is not FailureClass.SECONDARY],
        all_failures=[one for failures in rounds for one in failures],
        found=found,
        stage=config.stage if config else "",
        stage_source=config.stage_source if config else None,
    )
    changed = spec.model_copy(update={"since_round": first, "because": ()})
    code, reasons = find_stop_reasons(artifact, aftermath)
    if code != OK:
        return Decision(changed, code, tuple(reasons))
    blameless = not spec.is_local and is_blameless(aftermath.failures)
    changed = restore_nodes(changed, found.recovered_nodes, "SLURM reports it healthy")
    returned = len(changed.because)
    try:
        for remedy in REMEDIES.values():
            changed = remedy(changed, aftermath)
    except NoRemedy as end:
        reason = FailureReason(text=str(end), kind=end.kind)
        before = spec.model_copy(update={"since_round": first, "because": ()})
        return Decision(before, end.code, (reason,), blameless)
    has_changed = len(changed.because) > returned
    return Decision(changed, is_blameless=blameless, has_changed=has_changed)


def is_blameless(failures: Sequence[Failure]) -> bool:
    """Whether the cluster alone caused the failures of a round."""
    return bool(failures) and all(POLICY[one.kind].blames is Blame.CLUSTER for one in failures)


def find_stop_reasons(artifact: Artifact, aftermath: Aftermath) -> tuple[int, list[FailureReason]]:
    """Code and reasons if another attempt cannot help; (0, []) if it may."""
    for failure in aftermath.with_action(Action.STOP):
        record = find_failed_record(artifact, failure.attempt)
        texts = record.reasons if record else (failure.text,)
        spent = record.gpu_seconds if record else None
        reasons = [FailureReason(text=text, kind=failure.kind, gpu_seconds=spent) for text in texts]
        return record.code if record else CODES.get(failure.kind, INTERNAL), reasons
    ended = aftermath.with_action(Action.LEAVE_TO_USER)
    if ended:
        text = (
            f"{len(ended)} of its jobs were cancelled: {ended[0].text}; run the same command again "
            "to resume"
        )
        return RETRY, [FailureReason(text=text, kind=ended[0].kind)]
    common, count = find_repeated_traceback(aftermath.all_failures)
    if common and count >= POLICY[common.kind].bound.limit:
        text = f"{count} attempts ended with the same traceback, {common.signature}: "
        return INTERNAL, [FailureReason(text=text + common.text, kind=common.kind)]
    return OK, []


def find_repeated_traceback(failures: Iterable[Failure]) -> tuple[Failure | None, int]:
    """Return the most frequent traceback and its attempts; ranks of an attempt count once."""
    bounded = [
        failure
        for failure in failures
        if failure.signature and POLICY[failure.kind].bound.counts is Counted.SAME_TRACEBACKS
    ]
    ends = {(failure.signature, failure.attempt) for failure in bounded}
    counted = Counter(signature for signature, _ in ends).most_common(1)
    if not counted:
        return None, 0
    signature, count = counted[0]
    return next(failure for failure in bounded if failure.signature == signature), count


def list_changes(artifact: Artifact, first: int = 1) -> list[str]:
    """Changes with reasons that rounds from number `first` on made."""
    rounds = (artifact.round_if_valid(number) for number in range(first, artifact.last_round() + 1))
    return [text for one in rounds if one for text in one.spec.because]


def newest_changes(artifact: Artifact) -> list[str]:
    """Changes with reasons since the last launch."""
    last = artifact.newest_round_if_valid()
    return list_changes(artifact, last.spec.since_round) if last and last.spec.since_round else []
