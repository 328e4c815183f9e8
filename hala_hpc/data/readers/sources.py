"""Resolve a setting such as `data=corpora/opus` to files, and choose a reader for each."""

import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from gzip import BadGzipFile
from pathlib import Path

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.core.hub import (
    HubReference,
    fetched_folder,
    is_hub_id,
    is_hub_offline,
    is_true_value,
    parse_hub_reference,
)
from hala_hpc.data.readers.json_array import json_file
from hala_hpc.data.readers.json_lines import json_lines
from hala_hpc.data.readers.parquet import hub_rows, parquet_rows, unreachable_dataset_error
from hala_hpc.data.readers.records import InputRecord, broken_file_error, csv_file

READERS: dict[str, Callable[[Path], Iterator[InputRecord]]] = {
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": json_file,
    ".csv": csv_file,
    ".tsv": csv_file,
    ".parquet": parquet_rows,
}
#: JSON files that describe the data beside them.
NOT_DATA = re.compile(r"dataset_infos?\.json|config\.json|rejected-\d+\.jsonl")
#: `train-00002-of-00005.parquet`
ONE_OF_MANY = re.compile(r"(.*)-(\d+)-of-(\d+)(\..*)")


@dataclass(frozen=True)
class DatasetSelection:
    """Split and subset of a data set; None means a whole folder, or `train` on the hub."""

    split: str | None = None
    subset: str | None = None

    @property
    def on_hub(self) -> "DatasetSelection":
        """The same selection for a data set on the hub."""
        return DatasetSelection(self.split or "train", self.subset)


@dataclass(frozen=True)
class DataSource:
    """One file or one data set on the hub, and the name of its data set (`origin`)."""

    origin: str
    where: str
    read: Callable[[], Iterator[InputRecord]]


def find_sources(path: str, selection: DatasetSelection, reference: str = "") -> list[DataSource]:
    """Return the sources of a local path or a hub reference.

    `reference` is the value of the setting if `path` is the snapshot it resolves to.

    Raises: UserError (NO_INPUT) if the path, subset or split is missing, UserError (BAD_DATA) if
    no reader knows the file, UserError (UNAVAILABLE) if the hub cannot be reached.
    """
    if Path(path).exists():
        if is_hub_id(reference):
            return local_sources(Path(path), parse_hub_reference(reference).name, selection.on_hub)
        return local_sources(Path(path), dataset_name_from_path(Path(path)), selection)
    require_hub_id(path)
    if is_offline():
        return cached_sources(path, selection)
    return [streamed_source(parse_hub_reference(path), selection.on_hub)]


def streamed_source(reference: HubReference, selection: DatasetSelection) -> DataSource:
    """Return the source of a hub data set that is streamed over the network."""
    name, revision = reference
    split = selection.split or "train"
    return DataSource(name, name, lambda: hub_rows(name, split, selection.subset, revision))


def local_sources(path: Path, origin: str, selection: DatasetSelection) -> list[DataSource]:
    """Return the data files at a path, each with its reader."""
    return [make_source(file, origin) for file in list_data_files(path, selection)]


def make_source(file: Path, origin: str) -> DataSource:
    """Return a file with its reader.

    Raises: UserError (BAD_DATA) if no reader knows the file suffix.
    """
    reader = READERS.get(data_suffix(file))
    if reader is None:
        raise UserError(
            f"data file {file}: no reader for the suffix {file.suffix or 'none'!r}; "
            f"use one of {', '.join(READERS)}, or .gz after one of the text formats",
            BAD_DATA,
        )
    return DataSource(origin, str(file), lambda: read_source(reader, file))


def read_source(
    reader: Callable[[Path], Iterator[InputRecord]], file: Path
) -> Iterator[InputRecord]:
    """Yield the records of a file.

    Raises: UserError (NO_INPUT) if it cannot be opened, UserError (BAD_DATA) if it is truncated.
    """
    try:
        yield from reader(file)
    except PermissionError as error:
        raise UserError(f"data file {file}: cannot be read: {error.strerror}", NO_INPUT) from error
    except (EOFError, BadGzipFile, zlib.error) as error:
        raise broken_file_error(file, "its start", str(error)) from error


def list_data_files(path: Path, selection: DatasetSelection) -> list[Path]:
    """Return a file itself, or the data files in a folder, sorted by name."""
    if path.is_file():
        return [path]
    folder = path / selection.subset if selection.subset else path
    if not folder.is_dir():
        names = ", ".join(sorted(child.name for child in path.iterdir() if child.is_dir()))
        raise UserError(
            f"subset={selection.subset}: {path} has no such folder; it has {names or 'none'}",
            NO_INPUT,
        )
    files = [file for file in sorted(folder.rglob("*")) if is_data(file, folder)]
    files = filter_split(files, folder, selection.split)
    if not files:
        raise UserError(
            f"data folder {folder}: has no data files; known suffixes are {', '.join(READERS)}",
            NO_INPUT,
        )
    require_whole_sets(files)
    return files


def select_hub_files(names: Sequence[str], selection: DatasetSelection) -> list[str]:
    """Select the data files of a hub data set from the paths of all its files, sorted.

    Raises: UserError (NO_INPUT) if a subset or split has no data files.
    """
    root = Path("/", selection.subset or "")
    inside = [Path("/", name) for name in sorted(names)]
    inside = [file for file in inside if root in file.parents]
    files = [file for file in inside if is_named_as_data(file, root)]
    files = filter_split(files, root, selection.on_hub.split)
    if not files:
        where = f"subset={selection.subset}" if selection.subset else "the data set"
        raise UserError(
            f"{where} has no data files on the hub; it has {list_some_names(names)}", NO_INPUT
        )
    return [str(file.relative_to("/")) for file in files]


def list_some_names(names: Sequence[str]) -> str:
    """Format the first five of some names."""
    return ", ".join(sorted(names)[:5]) or "none"


def is_data(file: Path, folder: Path) -> bool:
    """Whether a path in a folder is a data file."""
    return is_named_as_data(file, folder) and file.is_file()


def is_named_as_data(file: Path, folder: Path) -> bool:
    """Whether a path in a folder has the name of a data file."""
    hidden = any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
    return data_suffix(file) in READERS and not NOT_DATA.fullmatch(file.name) and not hidden


def filter_split(files: list[Path], folder: Path, split: str | None) -> list[Path]:
    """Return the files with the split as a word in their names; all for a missing `train`."""
    if split is None or not files:
        return files
    pattern = re.compile(rf"(?<![a-zA-Z]){re.escape(split)}(?![a-zA-Z])")
    found = [file for file in files if pattern.search(str(file.relative_to(folder)))]
    if not found and split != "train":
        names = ", ".join(file.name for file in files[:5])
        raise UserError(
            f"split={split}: no file in {folder} has that name; it has {names}", NO_INPUT
        )
    return found or files


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


def cached_sources(reference: str, selection: DatasetSelection) -> list[DataSource]:
    """Return the files of a data set in the hub cache.

    Raises: UserError (UNAVAILABLE) if the data set was not fetched.
    """
    folder = fetched_folder("datasets", reference, os.environ)
    if folder is None:
        raise unreachable_dataset_error(reference, "it is not in the hub cache")
    return local_sources(folder, parse_hub_reference(reference).name, selection.on_hub)


def is_offline() -> bool:
    """Whether the environment keeps the hub libraries offline."""
    return is_hub_offline(
        os.environ, default=is_true_value(os.environ.get("HF_DATASETS_OFFLINE", ""))
    )


def require_hub_id(path: str) -> None:
    """Check that a path that does not exist is at least a valid hub id.

    Raises: UserError (NO_INPUT) if it is not.
    """
    if not is_hub_id(path):
        raise UserError(
            f"data {path}: there is no such file or folder (a hub id is written owner/name)",
            NO_INPUT,
        )


def data_suffix(file: Path) -> str:
    """Return the suffix of the format: `.jsonl` for `a.jsonl` and for `a.jsonl.gz`."""
    return Path(file.stem).suffix if file.suffix == ".gz" else file.suffix


def dataset_name_from_path(path: Path) -> str:
    """Return the data set name of a path: the file or folder name without the suffix."""
    name = path.resolve().name
    return name.removesuffix(".gz").removesuffix(data_suffix(path)) if path.is_file() else name
