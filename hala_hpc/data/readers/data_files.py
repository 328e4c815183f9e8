"""Find the data files of a folder; every other file is named with the reason why it is not read."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.core.lfs_pointer import LFS_FIX, LFS_START
from hala_hpc.data.readers.records import broken_file_error
from hala_hpc.data.readers.text_files import COMPRESSIONS, find_archive

TEXT_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".tab")
ARROW_SUFFIXES = (".parquet", ".arrow")
SUFFIXES = (*TEXT_SUFFIXES, *ARROW_SUFFIXES)
ARCHIVE = ".zip"
#: JSON files that describe the data beside them, as `datasets` and the hub write them.
DESCRIPTIONS = re.compile(
    r"(dataset_(infos?|dict)|state|config|metadata|croissant|dataset_metadata)\.json", re.IGNORECASE
)
REJECTED_ROWS = re.compile(r"rejected-\d+\.jsonl")


class UnreadFile(NamedTuple):
    """A file or folder that is not read."""

    path: str
    """Relative to the data."""
    reason: str


@dataclass
class FolderContent:
    """The data files of a folder in the order of their paths, and what is not read."""

    files: list[Path] = field(default_factory=list)
    unread: list[UnreadFile] = field(default_factory=list)


def list_folder(folder: Path) -> FolderContent:
    """List a folder with all folders below, linked ones too.

    Raises: UserError (NO_INPUT) if a link leads nowhere, UserError (BAD_DATA) for a broken zip.
    """
    content = FolderContent()
    for path in walk(folder, folder, content.unread, {identify(folder)}):
        relative = path.relative_to(folder)
        if not path.exists():
            raise dangling_link_error(path)
        if reason := find_unread_reason(relative):
            content.unread.append(UnreadFile(str(relative), reason))
        elif not path.is_file():
            content.unread.append(UnreadFile(str(relative), "no regular file"))
        elif path.suffix.lower() == ARCHIVE:
            members = list_archive(path)
            content.files += members.files
            content.unread += [
                UnreadFile(str(relative / each.path), each.reason) for each in members.unread
            ]
        else:
            content.files.append(path)
    content.files.sort()
    return content


def walk(
    folder: Path, root: Path, unread: list[UnreadFile], seen: set[tuple[int, int]]
) -> Iterator[Path]:
    """Yield the files below a folder; follow links, but read no folder twice."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except PermissionError as error:
        raise UserError(
            f"data folder {folder}: cannot be read: {error.strerror}", NO_INPUT
        ) from None
    for name in names:
        path = folder / name
        if not path.is_dir():
            yield path
            continue
        relative = str(path.relative_to(root))
        if is_hidden(name):
            unread.append(UnreadFile(relative, "a hidden name"))
        elif (identity := identify(path)) in seen:
            unread.append(UnreadFile(relative, "a link to a folder that is listed already"))
        else:
            seen.add(identity)
            yield from walk(path, root, unread, seen)


def identify(folder: Path) -> tuple[int, int]:
    """Return what a folder has in common with all links to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def list_archive(archive: Path) -> FolderContent:
    """List the data files in a zip file, as paths that lead into it.

    Raises: UserError (BAD_DATA) if it is broken.
    """
    content = FolderContent()
    try:
        with ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
    except BadZipFile as error:
        raise broken_file_error(archive, "its start", str(error)) from error
    for entry in sorted(entries, key=lambda each: each.filename):
        path = PurePath(entry.filename)
        reason = find_unread_reason(path)
        if not reason and data_suffix(path) not in TEXT_SUFFIXES:
            reason = "must be unpacked to be read"
        if entry.flag_bits & 1:
            reason = "encrypted"
        if reason:
            content.unread.append(UnreadFile(entry.filename, reason))
        else:
            content.files.append(archive / path)
    return content


def find_unread_reason(relative: PurePath) -> str:
    """Return why a file with this path below the data is not read; "" if it is."""
    if any(map(is_hidden, relative.parts)):
        return "a hidden name"
    if DESCRIPTIONS.fullmatch(relative.name):
        return "describes the data"
    if REJECTED_ROWS.fullmatch(relative.name):
        return "rejected rows of an earlier run"
    if relative.suffix.lower() == ARCHIVE or data_suffix(relative) in SUFFIXES:
        return ""
    return f"no reader for the suffix {''.join(relative.suffixes[-2:]) or 'none'!r}"


def is_hidden(name: str) -> bool:
    """Whether a name marks what is not data, for `datasets` as well."""
    return name.startswith((".", "_"))


def data_suffix(file: PurePath) -> str:
    """Return the suffix of the format: `.jsonl` for `a.jsonl` and for `a.JSONL.gz`."""
    is_compressed = file.suffix.lower() in COMPRESSIONS
    return (PurePath(file.stem).suffix if is_compressed else file.suffix).lower()


def disk_file(path: Path) -> Path:
    """Return the file on the disk that holds a data file: itself, or its zip file."""
    return find_archive(path) or path


def require_content(file: Path) -> None:
    """Check that a file holds data and no pointer of Git LFS.

    Raises: UserError (BAD_DATA) for a pointer, UserError (NO_INPUT) if it cannot be opened.
    """
    try:
        with disk_file(file).open("rb") as opened:
            start = opened.read(len(LFS_START))
    except OSError as error:
        raise UserError(f"data file {file}: cannot be read: {error.strerror}", NO_INPUT) from error
    if start == LFS_START:
        raise UserError(
            f"data file {file}: is a pointer of Git LFS, the file itself was not fetched; "
            f"{LFS_FIX}",
            BAD_DATA,
        )


def dangling_link_error(path: Path) -> UserError:
    """Make the error for a link whose file is missing."""
    return UserError(
        f"data file {path}: is a link to {path.readlink()}, which does not exist; fetch or copy "
        "the file again, or remove the link",
        NO_INPUT,
    )


def describe_unread(unread: Sequence[UnreadFile], shown: int = 5) -> str:
    """Format some unread files with their reasons."""
    texts = [f"{each.path} ({each.reason})" for each in unread[:shown]]
    rest = len(unread) - shown
    return ", ".join(texts) + (f" and {rest} more" if rest > 0 else "")
