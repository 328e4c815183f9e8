"""Forget what is no longer whole of a node, so that the next round makes it again."""

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
    """The finished units of a node, as one look at their markers found them."""

    markers: list[UnitMarker] = field(default_factory=list)
    """Those of units whose files have the sizes that they say, by their numbers."""
    faults: list[FileFault] = field(default_factory=list)
    """What was wrong with the others, a fault for each unit at least."""


def remove_broken_units(artifact: Artifact, units: int) -> FinishedUnits:
    """Forget the finished units whose files are not those of their markers, by their sizes.

    A marker that vanishes meanwhile is that of a unit that somebody else has forgotten.
    """
    found = FinishedUnits()
    for unit in range(units):
        try:
            marker = artifact.marker(unit)
        except Damaged as error:
            path = artifact.marker_file(unit)
            found.faults.append(FileFault(FileFaultKind.UNREADABLE, path, error.mistakes[0]))
            # Its files may be whole: the next attempt looks at them before it makes others.
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
    """What one reading of all files of finished units has found."""

    faults: list[FileFault] = field(default_factory=list)
    """What was wrong, a fault for each file."""
    files: int = 0
    """All files of the units."""
    unread: tuple[str, ...] = ()
    """Files for which there was no time, by their paths relative to the folder of all units."""


def remove_changed_units(
    artifact: Artifact, markers: Sequence[UnitMarker], until_s: float
) -> RereadResult:
    """Forget the finished units whose files have another content than their markers say.

    Reads every file that it can begin by `until_s`, on the monotonic clock; their sizes are right.
    Raises OSError where a file cannot be read.
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
    """Let a finished node be unfinished: its units stay, and its gate gathers them again."""
    if artifact.summary_file.is_dir():
        set_aside(artifact.summary_file)
    else:
        artifact.summary_file.unlink(missing_ok=True)


def remove_folder(artifact: Artifact, folder: Path) -> None:
    """Remove a published folder: its name is free at once, whatever its files take.

    Nothing happens where it is gone.
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
