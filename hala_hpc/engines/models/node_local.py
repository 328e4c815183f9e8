"""Copies of models on the node's own disk, made once per node and shared by all its jobs.

A copy is in `<disk>/hala-weights-<user>/<key>/<name>`, beside `<key>.json`, which is written after
the copy was read back, and `<key>.lock`. A reader holds a shared lock. The first process that finds
the lock free removes the copy. The disk belongs to one machine, so its locks are reliable.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from pydantic import ConfigDict

from hala_hpc.core.errors import BadNode
from hala_hpc.core.record import JsonRecord

logger = logging.getLogger(__name__)


#: Attempts to get a copy, alternating between reading one and making one.
TRIES = 20
BLOCK_BYTES = 2**24
#: Files copied at once: a single stream is slow on large file systems.
COPIERS = 4
#: Share of the disk that stays free beside a copy.
SPARE_SHARE = 0.05


class LocalWeights:
    """The copies that one process reads; a context manager.

    `disk` is a folder with unexpanded variables. If it is empty, every model is read at its source.
    """

    def __init__(self, disk: str) -> None:
        self.root = copies_root(disk) if disk else None
        self.held: list[FileLock] = []
        self.known: dict[Path, Path] = {}

    def path(self, source: Path) -> Path:
        """Return the folder from which to read the model `source`: its copy, if there is one.

        Raises: BadNode if a copy reads differently from what was written.
        """
        if self.root is None or not source.is_dir():
            return source
        if source not in self.known:
            try:
                self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
                remove_unused_copies(self.root)
                self.known[source] = self._shared_copy(source)
            except OSError as error:
                logger.warning("%s is read without a local copy: %s", source, error)
                self.known[source] = source
        return self.known[source]

    def _shared_copy(self, source: Path) -> Path:
        assert self.root is not None
        key = compute_copy_key(source)
        home = self.root / key / source.name
        for _ in range(TRIES):
            lock = FileLock(self.root / f"{key}.lock")
            lock.acquire(fcntl.LOCK_SH)
            if is_complete_copy(home):
                self.held.append(lock)
                return home
            lock.release()
            lock = FileLock(self.root / f"{key}.lock")
            if lock.acquire(fcntl.LOCK_EX | fcntl.LOCK_NB):
                try:
                    if not is_complete_copy(home):
                        make_copy(source, home)
                finally:
                    lock.release()
            else:
                time.sleep(0.5)
        return source

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the copies, and remove those without readers."""
        for lock in self.held:
            lock.release()
        if self.root is not None:
            remove_unused_copies(self.root)


def copies_root(disk: str) -> Path:
    """Return the folder of copies on a disk."""
    return Path(os.path.expandvars(disk)).expanduser() / f"hala-weights-{os.getuid()}"


def remove_unused_copies(root: Path) -> None:
    """Remove the copies without readers, also those of killed jobs."""
    for path in root.glob("*.lock"):
        lock = FileLock(path)
        if not lock.acquire(fcntl.LOCK_EX | fcntl.LOCK_NB):
            continue
        path.with_suffix(".json").unlink(missing_ok=True)
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        path.unlink(missing_ok=True)
        lock.release()


def compute_copy_key(source: Path) -> str:
    """Return a key for the current content of a folder: it changes if a file changes."""
    facts = [str(source.resolve())]
    for name in list_model_files(source):
        stat = (source / name).stat()
        facts.append(f"{name} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


class CopyMarker(JsonRecord):
    """The marker of a copy: size and SHA-256 of each file by name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, tuple[int, str]]

    @property
    def files(self) -> dict[str, tuple[int, str]]:
        """Size and SHA-256 by name."""
        return self.__pydantic_extra__


def list_model_files(source: Path) -> Iterator[Path]:
    """Return the files of a model as relative paths; links are followed."""
    return (path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file())


def is_complete_copy(home: Path) -> bool:
    """Whether a copy was finished, and all its files have the recorded sizes."""
    marker = CopyMarker.read_if_valid(home.parent.with_suffix(".json"))
    return marker is not None and all(
        (home / name).is_file() and (home / name).stat().st_size == size
        for name, (size, _) in marker.files.items()
    )


def make_copy(source: Path, home: Path) -> None:
    """Copy a model, read it back, and write its marker. Raises: OSError if the disk is full."""
    began = time.monotonic()
    marker = home.parent.with_suffix(".json")
    marker.unlink(missing_ok=True)
    shutil.rmtree(home.parent, ignore_errors=True)
    names = list(list_model_files(source))
    if not names:
        raise OSError("it has no files")
    size = sum((source / name).stat().st_size for name in names)
    disk = shutil.disk_usage(home.parent.parent)
    if size > disk.free - SPARE_SHARE * disk.total:
        raise OSError(f"it has {size / 2**30:.1f} GB, and {home.parent.parent} has no room for it")
    try:
        with ThreadPoolExecutor(COPIERS) as pool:
            copies = pool.map(lambda name: copy_file(source / name, home / name), names)
            facts = dict(zip(map(str, names), copies, strict=True))
        require_identical(home, facts)
    except BaseException:
        shutil.rmtree(home.parent, ignore_errors=True)
        raise
    CopyMarker.model_validate(facts).write(marker)
    took_s = time.monotonic() - began
    logger.info("copied %d files, %d bytes, to %s in %.1f s", len(names), size, home, took_s)


def copy_file(source: Path, target: Path) -> tuple[int, str]:
    """Copy a file with fsync; return its size and the SHA-256 of what was read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read, target.open("wb") as written:
        while block := read.read(BLOCK_BYTES):
            digest.update(block)
            size += written.write(block)
        written.flush()
        os.fsync(written.fileno())
        # So that it is read back from the disk and not from the page cache.
        os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return size, digest.hexdigest()


def compute_size_and_digest(path: Path) -> tuple[int, str]:
    """Return size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def require_identical(home: Path, facts: dict[str, tuple[int, str]]) -> None:
    """Read a copy back. Raises: BadNode if it differs from what was written."""
    with ThreadPoolExecutor(COPIERS) as pool:
        found = dict(
            zip(
                facts,
                pool.map(lambda name: compute_size_and_digest(home / name), facts),
                strict=True,
            )
        )
    for name, expected in facts.items():
        if found[name] != expected:
            node = os.environ.get("HALA_NODE", "this machine")
            raise BadNode(f"node {node}: {home / name} is not what was written there", nodes=[node])


class FileLock:
    """A lock file that its exclusive holder may remove."""

    def __init__(self, path: Path) -> None:
        self.path, self.descriptor = path, -1

    def acquire(self, operation: int) -> bool:
        """Acquire the lock; False if it is held elsewhere and `operation` does not wait."""
        while True:
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(self.descriptor, operation)
            except BlockingIOError:
                self.release()
                return False
            if self._is_its_file():
                return True
            # The file was removed while this process waited for the lock.
            self.release()

    def _is_its_file(self) -> bool:
        try:
            return self.path.stat().st_ino == os.fstat(self.descriptor).st_ino
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Release the lock."""
        os.close(self.descriptor)
