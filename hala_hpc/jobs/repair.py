"""Remove finished units and files of a node that are damaged, so the next round recomputes them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import Damaged, set_aside
from hala_hpc.core.file_facts import FileFault, FileFaultKind, compute_file_digests
from hala_hpc.core.records import UnitMarker


@dataclass
class FinishedUnits:
    """The finished units of a node, by one check of their markers."""

    markers: list[UnitMarker] = field(default_factory=list)
    """Markers of units whose files have the recorded sizes, ordered by unit."""
    faults: list[FileFault] = field(default_factory=list)
    """Faults of the other units, at least one for each."""


def remove_broken_units(artifact: Artifact, units: int) -> FinishedUnits:
    """Remove finished units whose files are missing or have other sizes than their markers record.

    A marker that vanishes meanwhile belongs to a unit that another process has removed.
    """
    found = FinishedUnits()
    for unit in range(units):
        try:
            marker = artifact.marker(unit)
        except Damaged as error:
            path = artifact.marker_file(unit)
            found.faults.append(FileFault(FileFaultKind.UNREADABLE, path, error.mistakes[0]))
            # Its files may be complete: the next attempt checks them before it makes others.
            set_aside(path)
            continue
        if marker is None:
            continue
        if faults := artifact.unit_faults(marker):
            found.faults += faults
            remove_unit(artifact, unit)
        else:
            found.markers.append(marker)
    return found


@dataclass
class RereadResult:
    """Result of re-reading all files of finished units."""

    faults: list[FileFault] = field(default_factory=list)
    """One fault for each changed file."""
    files: int = 0
    """Number of files of the units."""
    unread: tuple[str, ...] = ()
    """Files not read for lack of time, by their paths relative to the folder of all units."""


def remove_changed_units(
    artifact: Artifact, markers: Sequence[UnitMarker], until_s: float
) -> RereadResult:
    """Remove finished units whose files have other digests than their markers record.

    Starts reading files until `until_s` on the monotonic clock; their sizes are known to be right.

    Raises: OSError if a file cannot be read.
    """
    expected = {
        str(Path(artifact.unit_folder(marker.unit).name, name)): (marker.unit, digest)
        for marker in markers
        for name, digest in marker.sha256.items()
    }
    folder = artifact.unit_folder(0).parent
    found = compute_file_digests(folder, expected, until_s)
    changed = {
        name: expected[name][0] for name, digest in found.items() if digest != expected[name][1]
    }
    for unit in sorted(set(changed.values())):
        remove_unit(artifact, unit)
    faults = [FileFault(FileFaultKind.DIGEST, folder / name) for name in changed]
    return RereadResult(
        faults, len(expected), tuple(name for name in expected if name not in found)
    )


def remove_unit(artifact: Artifact, unit: int) -> None:
    """Remove the marker of a unit, then its files."""
    artifact.marker_file(unit).unlink(missing_ok=True)
    remove_folder(artifact, artifact.unit_folder(unit))


def remove_summary(artifact: Artifact) -> None:
    """Remove the summary of a node: its units stay, and its gate collects them again."""
    if artifact.summary_file.is_dir():
        set_aside(artifact.summary_file)
    else:
        artifact.summary_file.unlink(missing_ok=True)


def remove_folder(artifact: Artifact, folder: Path) -> None:
    """Remove a published folder: its name is free at once, before its files are deleted.

    Does nothing if it is gone.
    """
    aside = artifact.attempts / f"removed-{uuid4().hex[:8]}"
    artifact.attempts.mkdir(exist_ok=True)
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)
