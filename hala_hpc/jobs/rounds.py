"""Rounds of jobs: start one, and evaluate how the last one of a node ended.

A round file assigns units to workers and is written before anything is submitted. At its end the
progress of a round decides whether there may be another.
"""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.claims import remove_claims
from hala_hpc.core.errors import CONFIG, INTERNAL, NO_INPUT, OK, RETRY, FailureClass, TransientError
from hala_hpc.core.job_records import FailureReason
from hala_hpc.core.records import NodeConfig, Round, RoundSpec
from hala_hpc.jobs.attempt_records import AttemptEnd, iter_attempt_ends
from hala_hpc.jobs.failures.decision import decide
from hala_hpc.jobs.failures.evidence import recorded_failures, round_failures
from hala_hpc.jobs.failures.policy import BLAMELESS, IDLE
from hala_hpc.jobs.job_files import startup_failure_lines
from hala_hpc.jobs.log_file import read_attempt_tail

#: Lines of a worker's log that a failure shows.
LOG_TAIL_LINES = 15


def begin_round(artifact: Artifact, units: int, workers: int, spec: RoundSpec) -> Round:
    """Assign the missing units to workers and write the round file; return the round.

    `spec` holds what the gate needs to resubmit: launcher, resources, environment.

    Raises: TransientError if another process starts the same round.
    """
    begun = next_round(artifact, artifact.last_round(), units, workers, spec)
    if not artifact.write_round(begun):
        raise TransientError(
            f"round {begun.round} of {artifact.folder.name}: another process started it"
        )
    remove_claims(artifact)
    return begun


def join_round(
    artifact: Artifact, units: int, workers: int, spec: RoundSpec, key: str
) -> tuple[Round, bool]:
    """Return the round of this key, and whether this call started it; for manual submissions.

    All tasks of an array call this: the first writes the round file, the others read it.

    Raises: TransientError if another process starts a round with another key.
    """
    last = artifact.last_round()
    newest = artifact.round(last)
    if newest is not None and newest.key == key:
        return newest, False
    begun = next_round(artifact, last, units, workers, spec).model_copy(update={"key": key})
    if artifact.write_round(begun):
        remove_claims(artifact)
        return begun, True
    winner = artifact.round(begun.round)
    if winner is None or winner.key != key:
        raise TransientError(
            f"round {begun.round} of {artifact.folder.name}: another process started it"
        )
    return winner, False


def next_round(artifact: Artifact, last: int, units: int, workers: int, spec: RoundSpec) -> Round:
    """The round after number `last`; it is not written."""
    missing = artifact.missing_units(units)
    workers = max(1, min(workers, len(missing)))
    return Round(
        round=last + 1,
        key=uuid4().hex[:8],
        assignment=tuple(tuple(missing[first::workers]) for first in range(workers)),
        progress_before=tuple(progress_made(artifact)),
        began=time.time(),
        spec=spec,
    )


def progress_made(artifact: Artifact) -> list[str]:
    """Existing markers and checkpoints; a round that adds none made no progress."""
    # A name that begins with a dot is an unfinished file.
    state_files = sorted(
        f"kept/{unit}/{name}"
        for unit in names_in(artifact.state_root)
        for name in names_in(artifact.state_root / unit)
        if not name.startswith(".")
    )
    return [f"{len(artifact.done_units())} units", *state_files]


def names_in(folder: Path) -> list[str]:
    """Names in a folder; empty if a lost attempt that still runs has removed it meanwhile."""
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def count_rounds_without_progress(artifact: Artifact) -> int:
    """Number of rounds in a row, up to the last, without progress since the last launch.

    Rounds ended only by preemption or bad nodes do not count, nor rounds after which a remedy
    changes the next one, e.g. more memory. These have their own bounds in `failures.policy`.
    """
    last = artifact.newest_round()
    if not last or list(last.progress_before) != progress_made(artifact):
        return 0
    decision = decide(artifact, last.spec)
    if decision.is_blameless or decision.has_changed:
        return last.spec.rounds_without_progress
    return last.spec.rounds_without_progress + 1


def count_infrastructure_failures(artifact: Artifact) -> int:
    """Number of rounds in a row without progress that the cluster alone ended."""
    last = artifact.newest_round()
    if not last or list(last.progress_before) != progress_made(artifact):
        return 0
    return last.spec.infrastructure_failures + 1 if decide(artifact, last.spec).is_blameless else 0


def failed_inputs(artifact: Artifact, config: NodeConfig) -> tuple[int, list[FailureReason]]:
    """Code and reasons if an input is unfinished, so that no worker could start; else (0, [])."""
    missing = unfinished_input_nodes(artifact, config)
    return (NO_INPUT, [missed_input_reason(name) for name in missing]) if missing else (OK, [])


def unfinished_input_nodes(artifact: Artifact, config: NodeConfig) -> dict[str, Artifact]:
    """Input nodes without a summary, by their names."""
    work = artifact.folder.parent
    inputs = {name: facts.artifact for name, facts in config.inputs.items() if facts.artifact}
    found = {name: Artifact(work / folder) for name, folder in inputs.items()}
    return {name: one for name, one in found.items() if one.summary() is None}


def missed_input_reason(names: str) -> FailureReason:
    """The failure reason of a node that could not start because its inputs failed."""
    text = f"input {names} was not finished"
    return FailureReason(text=text, kind=FailureClass.SECONDARY)


def stop_reason(artifact: Artifact) -> tuple[int, list[FailureReason]]:
    """Code and reasons if there must be no other round; (0, []) if there may."""
    decision = decide(artifact, artifact.require_newest_round().spec)
    if decision.code != OK:
        return decision.code, attach_log(artifact, decision.reasons, decision.code)
    if count_rounds_without_progress(artifact) >= IDLE.limit:
        if late := timeout_reason(artifact):
            return CONFIG, [short_limit_reason(artifact, late)]
        text = f"{IDLE.limit} rounds of jobs ended without progress"
        return INTERNAL, [FailureReason(text=text), *failure_summary(artifact)]
    if count_infrastructure_failures(artifact) >= BLAMELESS.limit:
        text = f"{BLAMELESS.limit} rounds of jobs in a row were preempted or lost their nodes"
        return RETRY, [
            FailureReason(text=f"{text} before any progress"),
            *failure_summary(artifact),
        ]
    return OK, []


def failure_summary(artifact: Artifact) -> list[FailureReason]:
    """Why attempts ended, each reason once, with the log tail of one that failed."""
    if late := timeout_reason(artifact):
        return [late]
    ends = [
        end for end in iter_attempt_ends(artifact, artifact.last_round()) if end.record.code != OK
    ]
    if not ends:
        text = "the workers left no record: killed, or never started"
        reasons = [FailureReason(text=text, kind=FailureClass.NO_REPORT)]
    else:
        reasons = counted_reasons(artifact, ends)
    worst = INTERNAL if ends and ends[-1].record.code == INTERNAL else OK
    return [*attach_log(artifact, reasons, worst), *scheduler_reasons(artifact)]


def timeout_reason(artifact: Artifact) -> FailureReason | None:
    """The reason if the time limit alone ended all attempts of the last round, else None."""
    found = recorded_failures(artifact, artifact.last_round())
    if not found or any(failure.kind is not FailureClass.TIMEOUT for failure in found):
        return None
    more = f" ({len(found)} attempts)" if len(found) > 1 else ""
    return FailureReason(text=f"{found[0].text}{more}", kind=FailureClass.TIMEOUT)


def short_limit_reason(artifact: Artifact, late: FailureReason) -> FailureReason:
    """The reason that the time limit is too short, with the setting to raise."""
    limit_min = artifact.require_newest_round().spec.resources.timeout_min
    text = (
        f"timeout_min={limit_min} is too short: {IDLE.limit} rounds of jobs reached the time "
        f"limit before anything was done from which another could resume; {late.text}; raise it in "
        f"[node.{artifact.require_config().node}.resources] of the launcher, within the limits of "
        "partition and QOS"
    )
    return late.model_copy(update={"text": text})


def counted_reasons(artifact: Artifact, ends: Sequence[AttemptEnd]) -> list[FailureReason]:
    """Why attempts ended, each reason once, with the failure class found by the gate."""
    failures = recorded_failures(artifact, artifact.last_round())
    found = {failure.attempt: failure.kind for failure in failures}
    counts = Counter(reason for end in ends for reason in end.record.reasons)
    kinds = {reason: found.get(end.name) for end in reversed(ends) for reason in end.record.reasons}
    return [
        FailureReason(text=f"{text} ({count} times)" if count > 1 else text, kind=kinds[text])
        for text, count in counts.items()
    ]


def attach_log(
    artifact: Artifact, reasons: Sequence[FailureReason], code: int
) -> list[FailureReason]:
    """Attach a log tail to the last reason.

    It is the log of a defect if that is the code, or the job's output if no worker started.
    """
    tail = (log_of_defect(artifact) if code == INTERNAL else ()) or startup_failure_lines(artifact)
    if not tail:
        return list(reasons)
    if not reasons:
        return [FailureReason(text=tail[0], log_tail=tail[1:])]
    return [*reasons[:-1], reasons[-1].model_copy(update={"log_tail": tail})]


def log_of_defect(artifact: Artifact) -> tuple[str, ...]:
    """The log tail of the last attempt that ended with a defect; empty if there is none."""
    ends = iter_attempt_ends(artifact, artifact.last_round())
    defects = [end for end in ends if end.record.code == INTERNAL]
    if not defects:
        return ()
    log = artifact.log_file(defects[-1].worker, defects[-1].rank)
    tail = read_attempt_tail(log, defects[-1].name, LOG_TAIL_LINES)
    return (f"the end of {log}:", *(f"  {line}" for line in tail)) if tail else ()


def scheduler_reasons(artifact: Artifact) -> list[FailureReason]:
    """How the workers ended according to SLURM, e.g. out of memory; empty if unknown."""
    ends = round_failures(artifact, artifact.last_round()).scheduler
    return [FailureReason(text=f"SLURM reports: {', '.join(ends)}")] if ends else []
