"""The gate of a node: checks that its units are complete, then collects, retries or fails.

Runs after the workers, as a small job or in the launcher's own process.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import start_quickly

    start_quickly()

import os
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from hala_hpc.backends.slurm.backend import SlurmBackend, task_environment
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.claims import drop_claims
from hala_hpc.core.collected import Collected
from hala_hpc.core.errors import INTERNAL, OK, RETRY, Retry, UserError
from hala_hpc.core.files import claim_folder
from hala_hpc.core.records import FailureReason, NodeConfig, NodeSummary, UnitMarker
from hala_hpc.core.stage import Facts
from hala_hpc.jobs.attempt import load_stage
from hala_hpc.jobs.failures.decision import changes_of, decide
from hala_hpc.jobs.failures.evidence import note_failures
from hala_hpc.jobs.round_end import hopeless, last_words, without_inputs
from hala_hpc.jobs.submission import hand_over, living_gate, next_spec, settle, submit_next_round
from hala_hpc.jobs.waiting_list import feed

#: How long a gate waits for room among the jobs of its user, or for a controller that is away, and
#: how often it looks, in seconds.
ROOM_WAIT_S = 600
ROOM_PAUSE_S = 15


@dataclass(frozen=True)
class Verdict:
    """What a gate decided: `done`, `again` or `failed` with a code and reasons."""

    state: str
    code: int = OK
    reasons: tuple[FailureReason, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The reasons, for people."""
        return [line for reason in self.reasons for line in reason.lines]


def close(artifact: Artifact) -> Verdict:
    """Decide about a node whose workers have ended; write its summary or its failure."""
    config = artifact.require_config()
    if artifact.summary() is not None:
        # The gate may have been killed since it wrote that.
        remove_private_files(artifact)
        return Verdict("done")
    missing = artifact.missing_units(config.units)
    if not missing:
        try:
            summarize(artifact, config)
        except UserError as error:
            return fail(artifact, error.code, error.mistakes)
        remove_private_files(artifact)
        return Verdict("done")
    code, reasons = without_inputs(artifact, config)
    if code == OK:
        note_failures(artifact)
        code, reasons = hopeless(artifact)
    if code != OK:
        return fail(artifact, code, reasons)
    because = decide(artifact, artifact.require_newest_round().spec).spec.because
    changes = [f"so in the next round {text}" for text in because]
    return Verdict("again", RETRY, FailureReason.of([*last_words(artifact), *changes]))


def fail(artifact: Artifact, code: int, reasons: Sequence[FailureReason | str]) -> Verdict:
    """Write down why the node failed."""
    artifact.write_failure(code, reasons)
    return Verdict("failed", code, FailureReason.of(reasons))


def summarize(artifact: Artifact, config: NodeConfig) -> None:
    """Fill `output/` from all units and write the mark of the node."""
    stage = load_stage(artifact, config)
    marks = [require_marker(artifact, unit) for unit in range(config.units)]
    folders = [artifact.unit_folder(unit) for unit in range(config.units)]
    temporary = artifact.folder / f"output.{uuid4().hex[:8]}.tmp"
    temporary.mkdir()
    details, taken_out = stage.collect(marks, folders, temporary), dict[str, int]()
    if isinstance(details, Collected):
        details, taken_out = details.details, details.rejected
    if artifact.output.exists():
        shutil.rmtree(artifact.output)
    claim_folder(temporary, artifact.output)
    summary = add_up(config, marks, taken_out)
    of_the_node = {
        "details": details,
        "seconds_wall": round(time.time() - first_began(artifact), 3),
        "rounds": artifact.last_round(),
        "because": tuple(changes_of(artifact)),
    }
    artifact.write_summary(summary.model_copy(update=of_the_node))


def require_marker(artifact: Artifact, unit: int) -> UnitMarker:
    """The marker of a unit that was listed as done. Raises: UserError (INTERNAL) if it is gone."""
    marker = artifact.mark(unit)
    if marker is None:
        raise UserError(
            f"{artifact.mark_file(unit)} was there and is gone; launch again, which makes the unit",
            INTERNAL,
        )
    return marker


def remove_private_files(artifact: Artifact) -> None:
    """Remove what is of no use once a node is done: what killed attempts and gates left, claims."""
    artifact.failure_file.unlink(missing_ok=True)
    drop_claims(artifact)
    unfinished = [*artifact.attempts.glob("*/"), *artifact.folder.glob("output.*.tmp")]
    # Finished rows of unfinished units, checkpoints.
    unfinished.append(artifact.kept)
    for folder in unfinished:
        shutil.rmtree(folder, ignore_errors=True)
    # Unlike a glob, this does not mind what vanishes meanwhile.
    for place, _, names in os.walk(artifact.folder):
        for name in names:
            if name.startswith(".") and name.endswith(".tmp"):
                Path(place, name).unlink(missing_ok=True)


def first_began(artifact: Artifact) -> float:
    """When the first round was submitted, in seconds since the epoch."""
    first = artifact.round(1)
    return first.began if first else time.time()


def add_up(config: NodeConfig, marks: list[UnitMarker], taken_out: dict[str, int]) -> NodeSummary:
    """Counts of all units, verified once more, and the versions that made them.

    `taken_out` counts rows by the reason why `collect` took them out of what the units made.
    """

    rejected: Counter[str] = Counter(taken_out)
    late = rejected.total()
    found: dict[str, set[str]] = {}
    for mark in marks:
        rejected.update(mark.rejected)
        for name, version in mark.versions.items():
            found.setdefault(name, set()).add(version)
    facts = Facts(
        sum(mark.rows_in for mark in marks),
        sum(mark.rows_out for mark in marks) - late,
        sum(mark.rows_rejected for mark in marks) + late,
        dict(rejected),
        sum(mark.tokens_in for mark in marks),
        sum(mark.tokens_out for mark in marks),
    )
    facts.verify()
    return NodeSummary(
        node=config.node,
        stage=config.stage,
        fingerprint=config.fingerprint,
        units=config.units,
        **facts.as_dict(),
        seconds=round(sum(mark.seconds for mark in marks), 3),
        versions={name: ", ".join(sorted(values)) for name, values in found.items()},
        commit=", ".join(sorted({mark.commit for mark in marks} - {""})),
        inputs={name: facts.fingerprint for name, facts in config.inputs.items()},
    )


def gate(folder: str, number: int | None = None) -> None:
    """The gate of a round as a job: closes the node, or submits what is missing with a successor.

    Leaves with 0 when the node is done or goes on in the successor, else with the code of the
    failure, so that the jobs that wait for this one are cancelled. Last, it submits nodes of the
    run that had no room before.
    """
    os.umask(0o077)
    artifact = Artifact(Path(folder))
    code = close_or_submit(artifact, number)
    try:
        feed(artifact.folder.parent)
    except Exception:  # noqa: BLE001 - a node that is done must not count as failed for others
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def close_or_submit(artifact: Artifact, number: int | None) -> int:
    """Close the node or submit what is missing; the exit code of the gate."""
    try:
        artifact.require_config()
    except UserError as error:
        # Nothing may be written into a folder that is no artifact.
        print(error, file=sys.stderr, flush=True)
        return error.code
    try:
        if number is not None and goes_on_elsewhere(artifact, number):
            return OK
        verdict = close(artifact)
    except UserError as error:
        verdict = fail(artifact, error.code, error.mistakes)
    except Retry as error:
        print(f"{artifact.folder.name}: {error}", file=sys.stderr, flush=True)
        return RETRY
    print(f"{artifact.folder.name}: {verdict.state}", *verdict.lines, sep="\n", flush=True)
    return submit_again(artifact).code if verdict.state == "again" else verdict.code


def goes_on_elsewhere(artifact: Artifact, number: int) -> bool:
    """Whether a later round than this gate's is at work: the gate was killed while it submitted."""
    if artifact.last_round() <= number:
        return False
    settle([artifact])
    successor = living_gate(artifact, SlurmBackend().look(), own_id())
    if successor:
        hand_over(artifact, own_id(), successor)
    return bool(successor)


def own_id() -> str:
    """Id of the job that runs this gate; "" outside of one."""
    return task_environment().get("HALA_JOB_ID", "")


def submit_again(artifact: Artifact) -> Verdict:
    """Submit what is missing; when that fails for long, the node has failed and says so."""
    until_s = time.monotonic() + ROOM_WAIT_S
    last = artifact.require_newest_round()
    number, spec = last.round, next_spec(artifact, last.spec)
    while True:
        try:
            if not goes_on_elsewhere(artifact, number):
                submit_next_round(artifact, spec, own_id())
            return Verdict("again")
        except UserError as error:
            return fail(artifact, error.code, error.mistakes)
        except Retry as error:
            # After Retry sbatch may have got through all the same: hence the look before each try.
            if time.monotonic() > until_s:
                return fail(artifact, RETRY, [f"nothing could be submitted: {error}"])
            time.sleep(ROOM_PAUSE_S)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m hala_hpc.gate <artifact> [<round>]")
    gate(sys.argv[1], *map(int, sys.argv[2:]))
