"""Verify the files of one node of a run against its markers and its summary."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import Damaged
from hala_hpc.core.errors import UserError
from hala_hpc.core.file_facts import (
    DigestReader,
    FileFault,
    list_digest_faults,
    list_size_faults,
    list_unexpected_files,
)
from hala_hpc.core.fingerprint import fingerprint_path
from hala_hpc.core.records import NodeConfig, NodeSummary, UnitMarker
from hala_hpc.core.run import RunNode
from hala_hpc.jobs.quarantine import quarantine_node_files
from hala_hpc.jobs.repair import remove_summary, remove_unit


@dataclass
class NodeReport:
    """Result of verifying one node."""

    node: RunNode
    state: str = "new"
    """whole, cleaned, damaged, unfinished or new."""
    files: int = 0
    """Number of files read."""
    size_bytes: int = 0
    broken_units: list[int] = field(default_factory=list)
    is_output_broken: bool = False
    is_cleaned: bool = False
    """Whether the output was removed by `clean`."""
    faults: list[str] = field(default_factory=list)
    """What is damaged or missing, for people."""
    unit_faults: list[str] = field(default_factory=list)
    """Those faults that concern files of units."""
    notes: list[str] = field(default_factory=list)
    """Remarks that are no faults of the files."""
    reader: DigestReader = field(default_factory=DigestReader)

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.node.name

    @property
    def artifact(self) -> Artifact:
        """Its folder."""
        return self.node.artifact

    def count(self, sizes: dict[str, int]) -> None:
        """Count files that were read."""
        self.files += len(sizes)
        self.size_bytes += sum(sizes.values())


def verify_node(node: RunNode) -> NodeReport:
    """Read all files of a node again: units, output, and the inputs that it names."""
    report = NodeReport(node)
    try:
        config, summary = node.artifact.config(), node.artifact.summary()
    except UserError as error:
        report.state, report.faults = "damaged", list(error.mistakes)
        return report
    if config is None:
        return report
    try:
        if summary is not None:
            verify_output(report, summary)
        markers = verify_units(report)
        if summary is not None:
            ignore_removed_units(report, config, summary)
        report.faults += report.unit_faults
        if summary is not None:
            verify_counts(report, config, summary, markers)
            verify_inputs(report, config)
    except UserError as error:
        report.faults += error.mistakes
    whole = "cleaned" if report.is_cleaned else "unfinished" if summary is None else "whole"
    report.state = "damaged" if report.faults else whole
    return report


def verify_units(report: NodeReport) -> list[UnitMarker]:
    """Verify the files of all finished units against their markers; return the valid markers."""
    artifact, sound = report.artifact, []
    for unit in artifact.done_units():
        try:
            marker = artifact.marker(unit)
        except Damaged as error:
            report.broken_units.append(unit)
            report.unit_faults += error.mistakes
            continue
        except UserError as error:
            # The unit may be complete: it is not removed.
            report.faults += error.mistakes
            continue
        if marker is None:
            continue
        folder = artifact.unit_folder(unit)
        report.count(marker.files)
        faults = list_size_faults(folder, marker.files)
        faults += list_digest_faults(folder, marker.sha256, report.reader)
        if faults:
            report.broken_units.append(unit)
            report.unit_faults += describe_faults(faults)
        else:
            sound.append(marker)
    return sound


def ignore_removed_units(report: NodeReport, config: NodeConfig, summary: NodeSummary) -> None:
    """Ignore faults of units if the output of the node is complete: it no longer needs them.

    People remove units to free space. Recomputing them would require their inputs again.
    """
    if summary.files is None or report.is_output_broken:
        return
    gone = {*report.broken_units, *report.artifact.missing_units(config.units)}
    if not gone:
        return
    report.unit_faults, report.broken_units = [], []
    if report.is_cleaned:
        return
    report.notes.append(
        f"{len(gone)} of {config.units} units are incomplete or gone; its output is complete and "
        "does not need them"
    )


def verify_output(report: NodeReport, summary: NodeSummary) -> None:
    """Verify the output against the summary."""
    output = report.artifact.output
    if summary.files is None:
        report.notes.append(
            "its summary was written by an older version and lists no files: only the files of "
            "its units were checked"
        )
        return
    report.count(summary.files)
    faults = list_size_faults(output, summary.files) + list_digest_faults(
        output, summary.sha256, report.reader
    )
    if faults and (cleaned := report.artifact.removed_output()):
        report.is_cleaned = True
        report.notes.append(f"its output was {cleaned.text}: a node that needs it makes it again")
        return
    report.is_output_broken = bool(faults)
    report.faults += describe_faults(faults)
    report.notes += describe_faults(list_unexpected_files(output, summary.files))


def verify_counts(
    report: NodeReport, config: NodeConfig, summary: NodeSummary, markers: list[UnitMarker]
) -> None:
    """Check that rows in equal rows out plus rows rejected, in the summary and over all units."""
    counts: Counter[str] = Counter()
    for marker in markers:
        counts["in"] += marker.rows_in
        counts["all"] += marker.rows_out + marker.rows_rejected
    if len(markers) < config.units:
        return
    rows_accounted = summary.rows_out + summary.rows_rejected
    if not summary.rows_in == rows_accounted == counts["in"] == counts["all"]:
        report.is_output_broken = True
        report.faults.append(
            f"its summary counts {summary.rows_in} rows in and {rows_accounted} out or rejected, "
            f"its units {counts['in']} and {counts['all']}"
        )


def verify_inputs(report: NodeReport, config: NodeConfig) -> None:
    """Report inputs that are no longer those that the node was made from."""
    work = report.artifact.folder.parent
    for name, facts in config.inputs.items():
        if facts.artifact:
            made = Artifact(work / facts.artifact).config()
            if made is None:
                report.notes.append(f"input {name} is gone: {work / facts.artifact}")
            elif made.fingerprint and made.fingerprint != facts.fingerprint:
                report.faults.append(
                    f"input {name} has changed: {made.fingerprint} instead of {facts.fingerprint}"
                )
        elif facts.path:
            report.notes += describe_path_input(Path(facts.path), facts.fingerprint)


def describe_path_input(path: Path, fingerprint: str) -> list[str]:
    """A note if an input outside of the run is gone, has changed, or cannot be read here."""
    try:
        if not path.exists():
            return [f"input {path} is gone"]
        if fingerprint_path(path) != fingerprint:
            return [f"input {path} has changed: the launch command would compute a new result"]
    except OSError as error:
        return [f"input {path} was not compared: {error.strerror}"]
    return []


def repair_node(report: NodeReport) -> list[str]:
    """Remove incomplete units and output, so that they are recomputed; describe what was done."""
    done = quarantine_node_files(report.artifact, is_done=False)
    for unit in report.broken_units:
        remove_unit(report.artifact, unit)
    if report.broken_units:
        done.append(f"{len(report.broken_units)} units are removed and will be recomputed")
    if report.is_output_broken or report.broken_units:
        remove_summary(report.artifact)
        done.append("its gate will collect the units again")
    return done or ["nothing that the launch command could recompute"]


def describe_faults(faults: list[FileFault]) -> list[str]:
    """Describe faults for people."""
    return [fault.text for fault in faults]
