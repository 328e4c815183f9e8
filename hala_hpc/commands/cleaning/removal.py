"""Measure what would be removed from a work folder, and remove it."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.commands.cleaning.removable import RemovablePart
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.job_records import CleanedParts
from hala_hpc.core.sharing import user_name
from hala_hpc.jobs.repair import remove_folder


@dataclass(frozen=True)
class PartSize:
    """What the removal of a part frees."""

    files: int
    """Names of files, which a quota of files counts once for each file."""
    size_bytes: int
    """Of files that have no name elsewhere: units are often linked from the output."""


def measure_parts(parts: Sequence[RemovablePart]) -> list[PartSize]:
    """Measure parts that are removed together, in their order."""
    listed = [list(list_statuses(part.paths)) for part in parts]
    names = Counter((s.st_dev, s.st_ino) for statuses in listed for s in statuses)
    counted: set[tuple[int, int]] = set()
    found = []
    for statuses in listed:
        size = 0
        for status in statuses:
            key = (status.st_dev, status.st_ino)
            if key not in counted and names[key] >= status.st_nlink:
                size += status.st_size
            counted.add(key)
        found.append(PartSize(len(statuses), size))
    return found


def list_statuses(paths: Sequence[Path]) -> Iterator[os.stat_result]:
    """Yield the status of every file under some folders; links are not followed."""
    for path in paths:
        for place, _, names in os.walk(path):
            for name in names:
                try:
                    yield Path(place, name).lstat()
                except FileNotFoundError:
                    continue


def remove_part(part: RemovablePart, size: PartSize) -> None:
    """Record the removal of a part, then remove it. The record decides if this is interrupted.

    Raises: OSError.
    """
    if part.node is None:
        for path in part.paths:
            shutil.rmtree(path)
        return
    artifact = part.node.artifact
    record_removal(artifact, part, size)
    for path in part.paths:
        remove_folder(artifact, path)


def record_removal(artifact: Artifact, part: RemovablePart, size: PartSize) -> None:
    """Add a part to what was removed from its node before."""
    before = artifact.cleaned()
    CleanedParts(
        time=time.time(),
        user=user_name(os.geteuid()),
        kinds=tuple(sorted({part.kind.value, *(before.kinds if before else ())})),
        has_output=part.has_output or bool(before and before.has_output),
        files=size.files + (before.files if before else 0),
        size_bytes=size.size_bytes + (before.size_bytes if before else 0),
    ).write(artifact.cleaned_file)
