"""Read and write all records in the folder of one node."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hala_hpc.core.artifact_paths import ArtifactPaths
from hala_hpc.core.damage import Damaged, list_numbered_files
from hala_hpc.core.errors import BAD_DATA, NO_INPUT, TransientError, UserError
from hala_hpc.core.file_facts import FileFault, FileFaultKind, list_size_faults
from hala_hpc.core.paths import is_within
from hala_hpc.core.records import Jobs, NodeConfig, NodeSummary, Round, UnitMarker
from hala_hpc.core.server_clock import file_age_s

# Commands that plan read none of these: each is imported where it is read.
if TYPE_CHECKING:
    from hala_hpc.core.job_records import (
        AttemptRecord,
        Claim,
        CleanedParts,
        ErrorReport,
        FailureReason,
        FailureReport,
        Progress,
        RoundFailures,
        WorkerLease,
    )

#: Seconds without a write of its progress after which a worker counts as dead.
MAX_PROGRESS_AGE_S = 60


@dataclass(frozen=True)
class Artifact(ArtifactPaths):
    """The records of one node: `<work>/<node>-<fingerprint>`."""

    def claimed_units(self) -> set[int]:
        """Units that some worker of this round has claimed."""
        return set(list_numbered_files(self.folder / "claims", 5))

    def config(self) -> NodeConfig | None:
        """Settings and input fingerprints; None before the first launch.

        Raises: Damaged if the file is damaged or belongs to another node.
        """
        found = NodeConfig.read(self.config_file)
        self._require_of_this_node(found, self.config_file)
        return found

    def require_config(self) -> NodeConfig:
        """Settings and input fingerprints, for code that works by them.

        Raises: UserError (NO_INPUT) if there are none, (CONFIG) if another user could have written
        them.
        """
        config = NodeConfig.read_own(self.config_file)
        if config is None:
            raise UserError(f"{self.folder} is no artifact: config.json is missing", NO_INPUT)
        self._require_of_this_node(config, self.config_file)
        return config

    def write_config(self, config: NodeConfig) -> bool:
        """Write settings and inputs unless they exist; True if this call wrote them."""
        return config.claim(self.config_file)

    def summary(self) -> NodeSummary | None:
        """The summary of the node; None if the node is not done.

        Raises: Damaged if the file is damaged or belongs to another node.
        """
        found = NodeSummary.read(self.summary_file)
        self._require_of_this_node(found, self.summary_file)
        return found

    def _require_of_this_node(self, found: NodeConfig | NodeSummary | None, path: Path) -> None:
        """Raise Damaged for a file that was copied from the folder of another node."""
        fingerprint = found.fingerprint if found else ""
        if found and not self.folder.name.endswith(fingerprint):
            raise Damaged(path, f" belongs to {found.node}-{fingerprint}", found.fix)

    def write_summary(self, summary: NodeSummary) -> bool:
        """Mark the node as done unless it is already; True if this call wrote the summary."""
        return summary.claim(self.summary_file)

    def output_faults(self, summary: NodeSummary) -> list[FileFault]:
        """Compare the files of the output with the sizes in the summary.

        Summaries written before summaries listed files have none: then only the presence of an
        output is checked.
        """
        if summary.files is not None:
            return list_size_faults(self.output, summary.files)
        return [] if self.output.is_dir() else [FileFault(FileFaultKind.MISSING, self.output)]

    def cleaned(self) -> CleanedParts | None:
        """What a person had removed with `clean`; None if nothing, or if the file is damaged."""
        if not self.cleaned_file.exists():
            return None
        from hala_hpc.core.job_records import CleanedParts

        return CleanedParts.read_if_valid(self.cleaned_file)

    def removed_output(self) -> CleanedParts | None:
        """As `cleaned`, but None also if the output was not among it."""
        found = self.cleaned()
        return found if found and found.has_output else None

    def unit_faults(self, marker: UnitMarker) -> list[FileFault]:
        """Compare the files of a finished unit with the sizes in its marker."""
        return list_size_faults(self.unit_folder(marker.unit), marker.files)

    def marker(self, unit: int) -> UnitMarker | None:
        """The marker of a unit; None if the unit is not done.

        Raises: Damaged if the file is damaged or belongs to another unit.
        """
        found = UnitMarker.read(self.marker_file(unit))
        if found and found.unit != unit:
            raise Damaged(self.marker_file(unit), f" belongs to unit {found.unit}", found.fix)
        return found

    def write_marker(self, marker: UnitMarker) -> bool:
        """Write the marker of a unit unless it exists; True if this call wrote it."""
        return marker.claim(self.marker_file(marker.unit))

    def done_units(self) -> list[int]:
        """Units that have a marker, in order."""
        return list_numbered_files(self.folder / "done", 5)

    def missing_units(self, units: int) -> list[int]:
        """Units of `range(units)` without a marker, in order."""
        done = set(self.done_units())
        return [unit for unit in range(units) if unit not in done]

    def last_round(self) -> int:
        """Number of the newest round of jobs, 0 before the first."""
        return max(list_numbered_files(self.folder / "rounds", 4), default=0)

    def round(self, number: int) -> Round | None:
        """The plan of one round of jobs; None if there is no such round."""
        return Round.read(self.round_file(number))

    def newest_round(self) -> Round | None:
        """The plan of the newest round; None before the first."""
        return self.round(self.last_round())

    def round_if_valid(self, number: int) -> Round | None:
        """As `round`, but None if its file is damaged; for code that only reports about it."""
        return Round.read_if_valid(self.round_file(number))

    def newest_round_if_valid(self) -> Round | None:
        """As `newest_round`, but None if its file is damaged, or the folder of all rounds."""
        try:
            return self.round_if_valid(self.last_round())
        except Damaged:
            return None

    def require_newest_round(self) -> Round:
        """The plan of the newest round, for code that works by it.

        Raises: UserError (NO_INPUT) if there is none, (CONFIG) if another user could have written
        it.
        """
        newest = Round.read_own(self.round_file(self.last_round()))
        if newest is None:
            raise UserError(f"{self.folder} has no round of jobs: run the launch command", NO_INPUT)
        return newest

    def write_round(self, value: Round) -> bool:
        """Write the plan of a round unless it exists; True if this call wrote it."""
        return value.claim(self.round_file(value.round))

    def require_newest(self, expected: Round) -> None:
        """Raise TransientError if another round has begun since, which supersedes `expected`."""
        newest = self.newest_round()
        if newest is None or (newest.round, newest.key) != (expected.round, expected.key):
            raise TransientError(
                f"round {expected.round} of {self.folder.name} is superseded: another process "
                f"began round {newest.round if newest else 'none'}"
            )

    def jobs(self) -> Jobs | None:
        """Ids of the newest jobs; None before the first submission, or if the file is damaged."""
        return Jobs.read_if_valid(self.jobs_file)

    def write_jobs(self, jobs: Jobs) -> None:
        """Write the ids of the newest jobs."""
        jobs.write(self.jobs_file)

    def job_ids(self) -> list[str]:
        """Ids of the newest workers and gate; empty before the first submission."""
        jobs = self.jobs()
        return jobs.ids if jobs else []

    def failure(self) -> FailureReport | None:
        """Why the node failed; None if it did not.

        If the report is damaged, the node has failed all the same, and the damage is the reason.
        """
        from hala_hpc.core.job_records import FailureReason, FailureReport

        try:
            return FailureReport.read(self.failure_file)
        except Damaged as error:
            return FailureReport(code=BAD_DATA, reasons=FailureReason.of(error.mistakes))

    def write_failure(self, code: int, reasons: Sequence[FailureReason | str]) -> None:
        """Write why the node failed; a bare text becomes a reason without a class."""
        from hala_hpc.core.job_records import FailureReason, FailureReport

        found = FailureReason.of(reasons)
        FailureReport(code=code, reasons=found, time=time.time()).write(self.failure_file)

    def round_failures(self, number: int) -> RoundFailures | None:
        """Why the attempts of a round failed; None if unknown.

        Unknown means that its gate has not examined it yet, or that the file is damaged.
        """
        from hala_hpc.core.job_records import RoundFailures

        return RoundFailures.read_if_valid(self.failures_file(number))

    def attempt(self, name: str) -> AttemptRecord | None:
        """How an attempt ended, by its name; the name of a rank ends in `-rank1`.

        None if its record is missing or damaged: then its end is unknown.
        """
        from hala_hpc.core.job_records import AttemptRecord

        return AttemptRecord.read_if_valid(self.attempt_file(name))

    def error_report(self, attempt: str, rank: int) -> ErrorReport | None:
        """Why the model code ended; None if it was killed before the report was complete."""
        from hala_hpc.core.job_records import ErrorReport

        return ErrorReport.read_if_valid(self.error_file(attempt, rank))

    def worker_lease(self, worker: int) -> WorkerLease | None:
        """Which attempt may commit for a worker; None if no attempt has begun."""
        from hala_hpc.core.job_records import WorkerLease

        return WorkerLease.read_if_valid(self.lease_file(worker))

    def claim(self, unit: int) -> Claim | None:
        """Which worker runs a unit; None if no worker claimed it, or it is done."""
        from hala_hpc.core.job_records import Claim

        return Claim.read_if_valid(self.claim_file(unit))

    def rank_progress(self, worker: int, rank: int = 0) -> Progress | None:
        """The newest progress of one rank of a worker; None before its first."""
        from hala_hpc.core.job_records import Progress

        return Progress.read_if_valid(self.progress_file(worker, rank))

    def progress(self) -> list[Progress]:
        """The newest progress of every worker (rank 0)."""
        from hala_hpc.core.job_records import Progress

        files = sorted((self.folder / "progress").glob("*-0000.json"))
        return [progress for progress in map(Progress.read_if_valid, files) if progress]

    def is_alive(self) -> bool:
        """Whether any worker wrote its progress within the last minute."""
        return any(is_fresh(path) for path in (self.folder / "progress").glob("*.json"))


def find_result_faults(path: Path) -> list[FileFault]:
    """Find files that are missing or changed in a run's result that a path names.

    Names and sizes are compared with the summary of the result. A copy of a result is recognized by
    a summary beside it. Empty for any other path.
    """
    for folder in (path, *path.parents):
        made = Artifact(folder.parent)
        if folder != made.output:
            continue
        if (summary := NodeSummary.read_if_valid(made.summary_file)) is not None:
            return [fault for fault in made.output_faults(summary) if is_within(fault.path, path)]
    return []


def is_fresh(path: Path) -> bool:
    """Whether a rank wrote its progress within the last minute and has not ended."""
    from hala_hpc.core.job_records import Progress

    try:
        # A date far ahead is not of a running rank either: it was copied, or a clock was set back.
        if abs(file_age_s(path)) >= MAX_PROGRESS_AGE_S:
            return False
    except OSError:
        return False
    progress = Progress.read_if_valid(path)
    return progress is None or not progress.ended
