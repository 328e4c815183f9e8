"""Resolve a setting such as `data=corpora/opus` to files, and choose a reader for each."""

import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from gzip import BadGzipFile
from lzma import LZMAError
from pathlib import Path, PurePath
from zipfile import BadZipFile

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.core.hub import (
    HubReference,
    fetched_folder,
    is_hub_id,
    is_hub_offline,
    is_true_value,
    parse_hub_reference,
)
from hala_hpc.data.readers.csv_rows import csv_file
from hala_hpc.data.readers.data_files import (
    ARCHIVE,
    SUFFIXES,
    FolderContent,
    UnreadFile,
    data_suffix,
    describe_unread,
    list_archive,
    list_folder,
    require_content,
)
from hala_hpc.data.readers.hub_cards import (
    choose_configuration,
    list_configuration,
    read_configurations,
)
from hala_hpc.data.readers.json_array import json_file
from hala_hpc.data.readers.parquet import (
    arrow_rows,
    hub_rows,
    parquet_rows,
    unreachable_dataset_error,
)
from hala_hpc.data.readers.records import InputRecord, broken_file_error
from hala_hpc.data.readers.text_files import COMPRESSIONS, PLAIN_TEXT, TextFormat

Reader = Callable[[Path, TextFormat], Iterator[InputRecord]]
READERS: dict[str, Reader] = {
    ".jsonl": json_file,
    ".ndjson": json_file,
    ".json": json_file,
    ".csv": csv_file,
    ".tsv": csv_file,
    ".tab": csv_file,
    ".parquet": lambda path, _: parquet_rows(path),
    ".arrow": lambda path, _: arrow_rows(path),
}
#: `train-00002-of-00005.parquet`
ONE_OF_MANY = re.compile(r"(.*)-(\d+)-of-(\d+)(\..*)")


@dataclass(frozen=True)
class DatasetSelection:
    """Split and subset of a data set; None means a whole folder, or `train` on the hub."""

    split: str | None = None
    subset: str | None = None
    text_format: TextFormat = PLAIN_TEXT

    @property
    def on_hub(self) -> "DatasetSelection":
        """The same selection for a data set on the hub."""
        return replace(self, split=self.split or "train")


@dataclass(frozen=True)
class DataSource:
    """One file or one data set on the hub, and the name of its data set (`origin`)."""

    origin: str
    where: str
    read: Callable[[], Iterator[InputRecord]]
    text_format: TextFormat = PLAIN_TEXT


def find_sources(path: str, selection: DatasetSelection, reference: str = "") -> list[DataSource]:
    """Return the sources of a local path or a hub reference.

    `reference` is the value of the setting if `path` is the snapshot it resolves to.

    Raises: UserError (NO_INPUT) if the path, subset or split is missing, UserError (BAD_DATA) if
    no reader knows the file, UserError (UNAVAILABLE) if the hub cannot be reached.
    """
    place = locate(path, selection, reference)
    if place is None:
        return [streamed_source(parse_hub_reference(path), selection.on_hub)]
    files = place.list_files().files
    return [make_source(file, place.origin, selection.text_format) for file in files]


def find_contents(path: str, selection: DatasetSelection, reference: str = "") -> FolderContent:
    """Return the files of a local path or a hub reference, and what is not read of it.

    Empty for a hub data set that is streamed. Raises as `find_sources` does.
    """
    place = locate(path, selection, reference)
    return place.list_files() if place else FolderContent()


@dataclass(frozen=True)
class DataPlace:
    """Where data are on the disk."""

    folder: Path
    """A folder or a file."""
    origin: str
    selection: DatasetSelection
    """What is read of it; for a data set of the hub one split."""
    is_snapshot: bool = False
    """Whether it is a data set of the hub, whose card may list configurations."""

    def list_files(self) -> FolderContent:
        """List the data files, and what is not read.

        Raises: UserError (NO_INPUT) if there are none, or if it is unknown which configuration is
        meant.
        """
        found = read_configurations(self.folder) if self.is_snapshot else []
        if not found:
            return list_data_files(self.folder, self.selection)
        chosen = choose_configuration(found, self.selection.subset, self.origin)
        if not chosen.patterns:
            return list_data_files(
                self.folder, replace(self.selection, subset=chosen.folder or None)
            )
        content = list_folder(self.folder)
        files = list_configuration(self.folder, chosen, self.selection.split or "train")
        return choose_files(content, files, self.folder, "of another configuration or split")


def locate(path: str, selection: DatasetSelection, reference: str) -> DataPlace | None:
    """Return where data are on the disk; None if they are streamed from the hub.

    Raises: UserError (NO_INPUT) if the path does not exist, UserError (UNAVAILABLE) if a data set
    was not fetched and the environment is offline.
    """
    if Path(path).exists():
        if is_hub_id(reference):
            name = parse_hub_reference(reference).name
            return DataPlace(Path(path), name, selection.on_hub, is_snapshot=True)
        return DataPlace(Path(path), dataset_name_from_path(Path(path)), selection)
    require_hub_id(path)
    if not is_offline():
        return None
    folder = fetched_folder("datasets", path, os.environ)
    if folder is None:
        raise unreachable_dataset_error(path, "it is not in the hub cache")
    name = parse_hub_reference(path).name
    return DataPlace(folder, name, selection.on_hub, is_snapshot=True)


def streamed_source(reference: HubReference, selection: DatasetSelection) -> DataSource:
    """Return the source of a hub data set that is streamed over the network."""
    name, revision = reference
    split = selection.split or "train"
    return DataSource(name, name, lambda: hub_rows(name, split, selection.subset, revision))


def make_source(file: Path, origin: str, text_format: TextFormat) -> DataSource:
    """Return a file with its reader.

    Raises: UserError (BAD_DATA) if no reader knows the file suffix or the file is a pointer.
    """
    reader = READERS.get(data_suffix(file))
    if reader is None:
        raise UserError(
            f"data file {file}: no reader for the suffix {file.suffix or 'none'!r}; use one of "
            f"{', '.join(READERS)}, with {', '.join(COMPRESSIONS)} after it for a compressed text "
            "file, or a .zip of such files",
            BAD_DATA,
        )
    require_content(file)
    return DataSource(
        origin, str(file), lambda: read_source(reader, file, text_format), text_format
    )


def read_source(reader: Reader, file: Path, text_format: TextFormat) -> Iterator[InputRecord]:
    """Yield the records of a file.

    Raises: UserError (NO_INPUT) if it cannot be opened, UserError (BAD_DATA) if it is truncated.
    """
    try:
        yield from reader(file, text_format)
    except PermissionError as error:
        raise UserError(f"data file {file}: cannot be read: {error.strerror}", NO_INPUT) from error
    except (EOFError, BadGzipFile, BadZipFile, LZMAError, zlib.error) as error:
        raise broken_file_error(file, "its start", str(error)) from error
    except OSError as error:
        # What bz2 and pyarrow raise for damaged data has no errno.
        if error.errno is not None or file.suffix.lower() not in COMPRESSIONS:
            raise
        raise broken_file_error(file, "its start", str(error)) from error


def list_data_files(path: Path, selection: DatasetSelection) -> FolderContent:
    """List a file itself, or the data files in a folder, sorted by name."""
    if path.is_file():
        return list_archive(path) if path.suffix.lower() == ARCHIVE else FolderContent([path])
    folder = path / selection.subset if selection.subset else path
    if not folder.is_dir():
        names = ", ".join(sorted(child.name for child in path.iterdir() if child.is_dir()))
        raise UserError(
            f"subset={selection.subset}: {path} has no such folder; it has {names or 'none'}",
            NO_INPUT,
        )
    content = list_folder(folder)
    files = filter_split(content.files, folder, selection.split)
    if not files:
        others = f"; not read: {describe_unread(content.unread)}" if content.unread else ""
        raise UserError(
            f"data folder {folder}: has no data files; known suffixes are {', '.join(READERS)}"
            f"{others}",
            NO_INPUT,
        )
    require_whole_sets(files)
    return choose_files(content, files, folder, "of another split")


def choose_files(
    content: FolderContent, files: list[Path], folder: Path, reason: str
) -> FolderContent:
    """Return these files; the other data files are unread for this reason."""
    chosen = set(files)
    others = [
        UnreadFile(str(file.relative_to(folder)), reason)
        for file in content.files
        if file not in chosen
    ]
    return FolderContent(files, content.unread + others)


def filter_split(files: list[Path], folder: Path, split: str | None) -> list[Path]:
    """Return the files with the split as a word in their names; all for a missing `train`."""
    if split is None or not files:
        return files
    found = [file for file in files if has_word(file.relative_to(folder), split)]
    if not found and split != "train":
        names = ", ".join(file.name for file in files[:5])
        raise UserError(
            f"split={split}: no file in {folder} has that name; it has {names}", NO_INPUT
        )
    return found or files


def has_word(path: Path, name: str) -> bool:
    """Whether a path has a name that no letters touch."""
    pattern = rf"(?<![a-zA-Z]){re.escape(name)}(?![a-zA-Z])"
    return re.search(pattern, str(path)) is not None


def require_whole_sets(files: list[Path]) -> None:
    """Check that sets such as `train-00000-of-00005.parquet` are complete.

    Raises: UserError (NO_INPUT) if a file of a set is missing.
    """
    present: dict[tuple[Path, str, int, str], set[int]] = {}
    for file in files:
        if match := ONE_OF_MANY.fullmatch(file.name):
            start, number, total, end = match.groups()
            present.setdefault((file.parent, start, int(total), end), set()).add(int(number))
    for (folder, start, total, _), numbers in present.items():
        if len(numbers) < total:
            raise UserError(
                f"data folder {folder}: has {len(numbers)} of the {total} files "
                f"{start}-*-of-{total:05d}; fetch the missing ones",
                NO_INPUT,
            )


def is_offline() -> bool:
    """Whether the environment keeps the hub libraries offline."""
    return is_hub_offline(
        os.environ, default=is_true_value(os.environ.get("HF_DATASETS_OFFLINE", ""))
    )


def require_hub_id(path: str) -> None:
    """Check that a path that does not exist is at least a valid hub id.

    Raises: UserError (NO_INPUT) if it is not.
    """
    if is_url(path):
        raise UserError(
            f"data {path}: is an address, but data are read from the disk or by hub id; download "
            "the file and give its path, or give the hub id as owner/name",
            NO_INPUT,
        )
    if any(sign in path for sign in "*?["):
        folder = next((str(parent) for parent in Path(path).parents if parent.is_dir()), ".")
        raise UserError(
            f"data {path}: there is no such file, and patterns are not expanded; give the folder "
            f"({folder}), all data files of which are read, or a list of files",
            NO_INPUT,
        )
    if not is_hub_id(path):
        raise UserError(
            f"data {path}: there is no such file or folder (a hub id is written owner/name)",
            NO_INPUT,
        )


def is_url(path: str) -> bool:
    """Whether a value is an address of the web, also after it was taken for a path."""
    return re.match(r"[a-z][a-z0-9+]*:/", path) is not None


def dataset_name_from_path(path: Path) -> str:
    """Return the data set name of a path: the file or folder name without the suffix."""
    name = path.resolve().name
    if not path.is_file():
        return name
    plain = PurePath(name)
    if plain.suffix.lower() in COMPRESSIONS:
        plain = PurePath(plain.stem)
    return plain.stem if plain.suffix.lower() in (*SUFFIXES, ARCHIVE) else plain.name
