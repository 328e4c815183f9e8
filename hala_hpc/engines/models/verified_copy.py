"""A copy of a folder that is read back before it counts, with a mark beside it."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import ConfigDict

from hala_hpc.core.errors import BadNode
from hala_hpc.core.record import Record

BLOCK_BYTES = 2**24
#: Files that are copied at once: one stream alone is slow on large file systems.
COPIERS = 4
#: Share of the disk that stays free beside a copy.
SPARE_SHARE = 0.05


class CopyMarker(Record):
    """The marker of a copy: size and SHA-256 of each file, by its name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, tuple[int, str]]

    @property
    def files(self) -> dict[str, tuple[int, str]]:
        """Size and SHA-256 by name."""
        return self.__pydantic_extra__


def files_in(source: Path) -> Iterator[Path]:
    """The files of a model, through links, as paths inside of it."""
    return (path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file())


def is_whole(home: Path) -> bool:
    """Whether a copy was finished, and all its files have their sizes."""
    marker = CopyMarker.read_if_sound(home.parent.with_suffix(".json"))
    return marker is not None and all(
        (home / name).is_file() and (home / name).stat().st_size == size
        for name, (size, _) in marker.files.items()
    )


def make_copy(source: Path, home: Path) -> None:
    """Copy a model, read it back, and mark it. Raises OSError where there is no room."""
    began = time.monotonic()
    mark = home.parent.with_suffix(".json")
    mark.unlink(missing_ok=True)
    shutil.rmtree(home.parent, ignore_errors=True)
    names = list(files_in(source))
    if not names:
        raise OSError("it holds no files")
    size = sum((source / name).stat().st_size for name in names)
    disk = shutil.disk_usage(home.parent.parent)
    if size > disk.free - SPARE_SHARE * disk.total:
        raise OSError(f"it has {size / 2**30:.1f} GB, and {home.parent.parent} has no room for it")
    try:
        with ThreadPoolExecutor(COPIERS) as pool:
            copies = pool.map(lambda name: copy_file(source / name, home / name), names)
            facts = dict(zip(map(str, names), copies, strict=True))
        require_same(home, facts)
    except BaseException:
        shutil.rmtree(home.parent, ignore_errors=True)
        raise
    CopyMarker.model_validate(facts).write(mark)
    took_s = time.monotonic() - began
    print(f"copied {len(names)} files, {size} bytes, to {home} in {took_s:.1f} s", flush=True)


def copy_file(source: Path, target: Path) -> tuple[int, str]:
    """Copy a file to the disk itself; its size and the SHA-256 of what was read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read, target.open("wb") as written:
        while block := read.read(BLOCK_BYTES):
            digest.update(block)
            size += written.write(block)
        written.flush()
        os.fsync(written.fileno())
        # So that it is read back from the disk and not from memory.
        os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return size, digest.hexdigest()


def read_file(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def require_same(home: Path, facts: dict[str, tuple[int, str]]) -> None:
    """Raise BadNode where a copy reads otherwise than it was written."""
    with ThreadPoolExecutor(COPIERS) as pool:
        found = dict(zip(facts, pool.map(lambda name: read_file(home / name), facts), strict=True))
    for name, expected in facts.items():
        if found[name] != expected:
            node = os.environ.get("HALA_NODE", "this machine")
            raise BadNode(f"node {node}: {home / name} is not what was written there", nodes=[node])
