"""Close a node whose workers have ended: write its output and summary, or why it failed."""

import logging
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from hala_hpc.backends.slurm.task_environment import query_job_end
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.claims import remove_claims
from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.errors import OK, RETRY, UserError
from hala_hpc.core.file_facts import compute_file_digests, file_identity, list_file_sizes
from hala_hpc.core.files import claim_folder
from hala_hpc.core.hub import fetched_folder
from hala_hpc.core.job_records import FailureReason
from hala_hpc.core.records import InputFacts, NodeConfig, NodeSummary, UnitMarker
from hala_hpc.core.stage import CollectResult, UnitCounts
from hala_hpc.jobs.attempt import load_stage
from hala_hpc.jobs.failures.decision import decide, list_changes
from hala_hpc.jobs.failures.evidence import record_failures
from hala_hpc.jobs.repair import (
    RereadResult,
    remove_broken_units,
    remove_changed_units,
    remove_folder,
)
from hala_hpc.jobs.rounds import failed_inputs, failure_summary, stop_reason

logger = logging.getLogger(__name__)

#: Share of a gate's remaining time for re-reading the files of its workers: 15 of 30 minutes,
#: enough for 111 GB at 123 MB/s. The rest is for linking files and for reading those that
#: `collect` writes.
REREAD_TIME_SHARE = 0.5


@dataclass(frozen=True)
class Verdict:
    """Decision of a gate: `done`, `again`, `handed over`, `waits for room`, or `failed`, with exit
    code and reasons."""

    state: str
    code: int = OK
    reasons: tuple[FailureReason, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The reasons as text lines."""
        return [line for reason in self.reasons for line in reason.lines]


def finish_node(artifact: Artifact) -> Verdict:
    """Close a node whose workers have ended: write its summary or its failure."""
    config = artifact.require_config()
    if artifact.summary() is not None:
        # A gate may have been killed after it wrote the summary.
        remove_private_files(artifact)
        return Verdict("done")
    found = remove_broken_units(artifact, config.units)
    faults, is_complete, unread = found.faults, len(found.markers) == config.units, list[str]()
    if is_complete:
        # Once, before the output is collected: later steps take the digests from the markers.
        reread = remove_changed_units(artifact, found.markers, reread_deadline_s())
        faults, unread = reread.faults, describe_unread_files(reread)
    for fault in faults:
        logger.warning("%s: the unit will be recomputed", fault.text)
    if is_complete and not faults:
        try:
            summarize(artifact, config, found.markers, unread)
        except UserError as error:
            return fail_node(artifact, error.code, error.mistakes)
        remove_private_files(artifact)
        return Verdict("done")
    code, reasons = failed_inputs(artifact, config)
    if code == OK:
        record_failures(artifact)
        code, reasons = stop_reason(artifact)
    if code != OK:
        return fail_node(artifact, code, reasons)
    because = decide(artifact, artifact.require_newest_round().spec).spec.because
    changes = [f"in the next round {text}" for text in because]
    return Verdict("again", RETRY, FailureReason.of([*failure_summary(artifact), *changes]))


def fail_node(artifact: Artifact, code: int, reasons: Sequence[FailureReason | str]) -> Verdict:
    """Write `failure.json` with the code and reasons of a node; return the verdict."""
    try:
        artifact.write_failure(code, reasons)
    except OSError as error:
        # For example a full disk: the log and the exit code still report the failure.
        logger.error("%s", convert_os_error(error))
    return Verdict("failed", code, FailureReason.of(reasons))


def reread_deadline_s() -> float:
    """Time on the monotonic clock at which a gate stops re-reading files of its workers.

    A gate that reaches its time limit counts as failed, and SLURM cancels jobs that depend on it.
    Files not re-read are checked by size alone, with the digests taken by the workers.
    """
    end = query_job_end()
    return math.inf if end is None else time.monotonic() + (end - time.time()) * REREAD_TIME_SHARE


def describe_unread_files(reread: RereadResult) -> list[str]:
    """Remark about files that were not re-read for lack of time; empty if there are none."""
    if not reread.unread:
        return []
    text = (
        f"{len(reread.unread)} of {reread.files} files were not re-read before collecting, "
        "as the time limit of the gate was too short: their sizes are right, `verify` reads them, "
        "and a larger timeout_min in [gate] of the launcher gives more time"
    )
    logger.warning("%s", text)
    return [text]


def summarize(
    artifact: Artifact, config: NodeConfig, markers: list[UnitMarker], remarks: list[str]
) -> None:
    """Collect `output/` from all units, by their markers, and write the summary of the node.

    `remarks` are added to the changes of later rounds in the summary.
    """
    stage = load_stage(artifact, config)
    folders = [artifact.unit_folder(unit) for unit in range(config.units)]
    temporary = artifact.folder / f"output.{uuid4().hex[:8]}.tmp"
    temporary.mkdir()
    details, taken_out = stage.collect(markers, folders, temporary), dict[str, int]()
    if isinstance(details, CollectResult):
        details, taken_out = details.details, details.rejected
    summary = sum_unit_markers(config, markers, taken_out)
    sizes = list_file_sizes(temporary)
    digests = digests_of_output(artifact, markers, temporary, sizes)
    if artifact.summary() is not None:
        # Another gate of the node has finished first.
        shutil.rmtree(temporary, ignore_errors=True)
        return
    if artifact.output.exists():
        remove_folder(artifact, artifact.output)
    if not claim_folder(temporary, artifact.output):
        # Another gate is closing the node now, from the same units.
        shutil.rmtree(temporary, ignore_errors=True)
    of_the_node = {
        "files": sizes,
        "sha256": digests,
        "details": details,
        "seconds_wall": round(time.time() - first_began(artifact), 3),
        "rounds": artifact.last_round(),
        "because": (*list_changes(artifact), *changed_code(artifact, markers), *remarks),
    }
    artifact.write_summary(summary.model_copy(update=of_the_node))


def digests_of_output(
    artifact: Artifact, markers: list[UnitMarker], output: Path, names: Iterable[str]
) -> dict[str, str]:
    """SHA-256 of each output file; files linked from units have theirs in the markers."""
    known: dict[tuple[int, int], str] = {}
    for marker in markers:
        folder = artifact.unit_folder(marker.unit)
        known |= {file_identity(folder / name): digest for name, digest in marker.sha256.items()}
    found = {name: known.get(file_identity(output / name), "") for name in names}
    unknown = [name for name, digest in found.items() if not digest]
    return found | compute_file_digests(output, unknown)


def input_fingerprint(name: str, facts: InputFacts) -> str:
    """Fingerprint of an input; for one that jobs downloaded themselves, its commit."""
    if facts.fingerprint or not facts.repository:
        return facts.fingerprint
    folder = fetched_folder(facts.repository, name, os.environ)
    return folder.name if folder else ""


def remove_private_files(artifact: Artifact) -> None:
    """Remove claims and the leftovers of killed attempts and gates from a finished node."""
    artifact.failure_file.unlink(missing_ok=True)
    if artifact.cleaned_file.exists():
        summary = artifact.summary()
        if summary is not None and not artifact.output_faults(summary):
            # It has an output again.
            artifact.cleaned_file.unlink(missing_ok=True)
    remove_claims(artifact)
    unfinished = [*artifact.attempts.glob("*/"), *artifact.folder.glob("output.*.tmp")]
    # Finished rows of unfinished units, checkpoints.
    unfinished.append(artifact.state_root)
    for folder in unfinished:
        shutil.rmtree(folder, ignore_errors=True)
    # Unlike glob, os.walk tolerates files that vanish meanwhile.
    for place, _, names in os.walk(artifact.folder):
        for name in names:
            if name.startswith(".") and name.endswith(".tmp"):
                Path(place, name).unlink(missing_ok=True)


def changed_code(artifact: Artifact, markers: list[UnitMarker]) -> list[str]:
    """Remark if units were made by other code than was launched; empty otherwise."""
    numbers = range(1, artifact.last_round() + 1)
    specs = [one.spec for number in numbers if (one := artifact.round_if_valid(number))]
    launched = {spec.code_digest: spec.code_description for spec in specs if spec.code_digest}
    others = {
        marker.code_digest: marker.code_description
        for marker in markers
        if marker.code_digest and marker.code_digest not in launched
    }
    if not others or not launched:
        return []
    ran, asked = ", ".join(others.values()), ", ".join(launched.values())
    return [f"the code changed after the launch: {ran} ran in place of {asked}"]


def first_began(artifact: Artifact) -> float:
    """Time at which the first round was submitted, in seconds since the epoch."""
    first = artifact.round_if_valid(1)
    return first.began if first else time.time()


def sum_unit_markers(
    config: NodeConfig, markers: list[UnitMarker], taken_out: dict[str, int]
) -> NodeSummary:
    """Sum the counts of all units and check them; collect the versions that made them.

    `taken_out` counts the rows that `collect` removed, by reason.
    """

    rejected: Counter[str] = Counter(taken_out)
    late = rejected.total()
    found: dict[str, set[str]] = {}
    for marker in markers:
        rejected.update(marker.rejected)
        for name, version in marker.versions.items():
            found.setdefault(name, set()).add(version)
    facts = UnitCounts(
        rows_in=sum(marker.rows_in for marker in markers),
        rows_out=sum(marker.rows_out for marker in markers) - late,
        rows_rejected=sum(marker.rows_rejected for marker in markers) + late,
        # Rows removed by `collect` are only worse than other rows: no fault of model or settings.
        rows_rejected_content=sum(marker.rows_rejected_content for marker in markers) + late,
        rejected=dict(rejected),
        tokens_in=sum(marker.tokens_in for marker in markers),
        tokens_out=sum(marker.tokens_out for marker in markers),
    )
    facts.verify()
    return NodeSummary(
        node=config.node,
        stage=config.stage,
        stage_source=config.stage_source,
        fingerprint=config.fingerprint,
        units=config.units,
        **facts.as_dict(),
        seconds=round(sum(marker.seconds for marker in markers), 3),
        versions={name: ", ".join(sorted(values)) for name, values in found.items()},
        commit=", ".join(sorted({marker.code_name for marker in markers} - {""})),
        code_digests=tuple(sorted({marker.code_digest for marker in markers} - {""})),
        inputs={name: input_fingerprint(name, facts) for name, facts in config.inputs.items()},
    )
