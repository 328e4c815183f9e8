"""Copies of models on the node's own disk, made once per node and shared by all that run there.

A copy lies in `<disk>/hala-weights-<user>/<key>/<name>`, beside `<key>.json`, which is written once
it was read back, and `<key>.lock`. Who reads it holds the lock shared; it is removed by the first
that finds nobody holding it. The disk is one machine's, so that its locks can be trusted.
"""

import fcntl
import hashlib
import os
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from hala_hpc.engines.models.disk_lock import Lock
from hala_hpc.engines.models.verified_copy import files_in, is_whole, make_copy

#: Rounds between those who want to read a copy and those who want to make one.
TRIES = 20


class LocalWeights:
    """The copies that one process reads; `disk` is a folder, its variables not yet filled in.

    Empty: every model is read where it lies. Use as a context manager.
    """

    def __init__(self, disk: str) -> None:
        self.root = root_on(disk) if disk else None
        self.held: list[Lock] = []
        self.known: dict[Path, Path] = {}

    def path(self, source: Path) -> Path:
        """Where to read a model that lies in `source`: its copy, where one can be had.

        Raises BadNode when what was copied reads otherwise than it was written.
        """
        if self.root is None or not source.is_dir():
            return source
        if source not in self.known:
            try:
                self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
                sweep(self.root)
                self.known[source] = self._shared_copy(source)
            except OSError as error:
                print(f"{source} is read where it lies: {error}", flush=True)
                self.known[source] = source
        return self.known[source]

    def _shared_copy(self, source: Path) -> Path:
        assert self.root is not None
        key = key_of(source)
        home = self.root / key / source.name
        for _ in range(TRIES):
            lock = Lock(self.root / f"{key}.lock")
            lock.take(fcntl.LOCK_SH)
            if is_whole(home):
                self.held.append(lock)
                return home
            lock.leave()
            lock = Lock(self.root / f"{key}.lock")
            if lock.take(fcntl.LOCK_EX | fcntl.LOCK_NB):
                try:
                    if not is_whole(home):
                        make_copy(source, home)
                finally:
                    lock.leave()
            else:
                time.sleep(0.5)
        return source

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say that the copies are read no more, and remove those that nobody reads."""
        for lock in self.held:
            lock.leave()
        if self.root is not None:
            sweep(self.root)


def root_on(disk: str) -> Path:
    """Where copies lie on a disk."""
    return Path(os.path.expandvars(disk)).expanduser() / f"hala-weights-{os.getuid()}"


def sweep(root: Path) -> None:
    """Remove the copies that nobody reads, also those of jobs that were killed."""
    for path in root.glob("*.lock"):
        lock = Lock(path)
        if not lock.take(fcntl.LOCK_EX | fcntl.LOCK_NB):
            continue
        path.with_suffix(".json").unlink(missing_ok=True)
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        path.unlink(missing_ok=True)
        lock.leave()


def key_of(source: Path) -> str:
    """A name for what lies in a folder now: another when a file of it is changed."""
    facts = [str(source.resolve())]
    for name in files_in(source):
        seen = (source / name).stat()
        facts.append(f"{name} {seen.st_size} {seen.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
