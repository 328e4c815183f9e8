"""Sizes and digests of the files of a finished folder, and checks that they still match."""

import hashlib
import math
import os
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

#: Files read at the same time for their digests: one reader alone is slower than a file system.
READERS = 8


class FileFaultKind(StrEnum):
    """What is wrong with a file that a record lists."""

    MISSING = "missing"
    SIZE = "size"
    DIGEST = "digest"
    UNREADABLE = "unreadable"
    UNEXPECTED = "unexpected"
    """No record lists it."""


@dataclass(frozen=True)
class FileFault:
    """A file that differs from what was recorded when its folder was finished."""

    kind: FileFaultKind
    path: Path
    detail: str = ""

    @property
    def text(self) -> str:
        """The fault with the path, for people."""
        message = {
            FileFaultKind.MISSING: "is missing",
            FileFaultKind.SIZE: "has another size",
            FileFaultKind.DIGEST: "has the right size but different content",
            FileFaultKind.UNREADABLE: "cannot be read",
            FileFaultKind.UNEXPECTED: "was not there when the folder was finished",
        }[self.kind]
        return f"{self.path} {message}{f': {self.detail}' if self.detail else ''}"


def list_file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file under a folder, by its path relative to the folder, in order."""
    sizes = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.is_file():
                sizes[str(path.relative_to(folder))] = path.stat().st_size
    return dict(sorted(sizes.items()))


def compute_file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compute_file_digests(
    folder: Path, names: Iterable[str], until_s: float = math.inf
) -> dict[str, str]:
    """SHA-256 of some files of a folder, by their paths relative to it.

    Files not begun by `until_s`, a time of the monotonic clock, are left out.
    """
    # Plans compare sizes only and do not need this import.
    from concurrent.futures import ThreadPoolExecutor

    def read(name: str) -> str:
        return compute_file_digest(folder / name) if time.monotonic() < until_s else ""

    listed = list(names)
    with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as readers:
        digests = zip(listed, readers.map(read, listed), strict=True)
        return {name: digest for name, digest in digests if digest}


def list_size_faults(folder: Path, sizes: Mapping[str, int]) -> list[FileFault]:
    """The files that are missing or have another size; no file is read."""
    faults = []
    for name, size in sizes.items():
        path = folder / name
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            faults.append(FileFault(FileFaultKind.MISSING, path))
            continue
        except OSError as error:
            faults.append(FileFault(FileFaultKind.UNREADABLE, path, f"{error.strerror}"))
            continue
        found = status.st_size
        if not stat.S_ISREG(status.st_mode):
            faults.append(FileFault(FileFaultKind.UNREADABLE, path, "it is not a regular file"))
        elif found != size:
            message = f"{found} bytes instead of {size}"
            faults.append(FileFault(FileFaultKind.SIZE, path, message))
    return faults


def list_unexpected_files(folder: Path, sizes: Mapping[str, int]) -> list[FileFault]:
    """The files under a folder that no record lists; names that begin with a dot do not count."""
    return [
        FileFault(FileFaultKind.UNEXPECTED, folder / name)
        for name in list_file_sizes(folder)
        if name not in sizes and not Path(name).name.startswith(".")
    ]


class DigestReader:
    """Reads files for their digests; a file with several names is read once."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], str] = {}

    def digest_of(self, path: Path) -> str:
        """SHA-256 of a file. Raises OSError."""
        name = file_identity(path)
        if name not in self.known:
            self.known[name] = compute_file_digest(path)
        return self.known[name]


def file_identity(path: Path) -> tuple[int, int]:
    """Device and inode, which all names of one file share. Raises OSError."""
    status = path.stat()
    return status.st_dev, status.st_ino


def list_digest_faults(
    folder: Path, digests: Mapping[str, str], reader: DigestReader
) -> list[FileFault]:
    """The files whose content differs; every file is read, missing ones are left out."""
    from concurrent.futures import ThreadPoolExecutor

    def check_file(name: str) -> FileFault | None:
        path = folder / name
        # Opening a pipe would block. `list_size_faults` reports what is not a regular file.
        if not path.is_file():
            return None
        try:
            is_same = reader.digest_of(path) == digests[name]
        except FileNotFoundError:
            return None
        except OSError as error:
            return FileFault(FileFaultKind.UNREADABLE, path, f"{error.strerror}")
        return None if is_same else FileFault(FileFaultKind.DIGEST, path)

    with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as readers:
        return [fault for fault in readers.map(check_file, digests) if fault]
