"""Forget what is no longer whole of a node, so that the next round makes it again."""

import shutil
from pathlib import Path
from uuid import uuid4

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import Damaged, set_aside
from hala_hpc.core.file_facts import FaultKind, FileFault


def forget_broken_units(artifact: Artifact, units: int) -> list[FileFault]:
    """Forget the finished units whose files are not those of their markers, by their sizes.

    Returns what was wrong, a fault for each unit at least. A marker that vanishes meanwhile is
    that of a unit that somebody else has forgotten.
    """
    faults: list[FileFault] = []
    for unit in range(units):
        try:
            marker = artifact.mark(unit)
        except Damaged as error:
            path = artifact.mark_file(unit)
            faults.append(FileFault(FaultKind.UNREADABLE, path, error.mistakes[0]))
            # Its files may be whole: the next attempt looks at them before it makes others.
            set_aside(path)
            continue
        if marker is not None and (found := artifact.unit_faults(marker)):
            faults += found
            forget_unit(artifact, unit)
    return faults


def forget_unit(artifact: Artifact, unit: int) -> None:
    """Remove the marker of a unit, then its files."""
    artifact.mark_file(unit).unlink(missing_ok=True)
    remove_folder(artifact, artifact.unit_folder(unit))


def forget_node(artifact: Artifact) -> None:
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
