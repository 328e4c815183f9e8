"""Check file by file that the datasets cache holds what an offline job reads."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from hala_hpc.core.files import read_json
from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.evaluation.task_needs import TaskDataSet

INFO_FILE = "dataset_info.json"
RECEIPT_FILE = "hala_fetched.json"
#: First and last bytes of an Arrow stream (format 1.0): continuation marker and end of stream.
ARROW_BEGIN, ARROW_END = b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x00\x00\x00\x00"


class Receipt(JsonRecord):
    """Written by `fetch` into the folder of a complete configuration."""

    fix: ClassVar[str] = "fetch the task data again"

    commit: str
    """Hub commit of the data set, as `datasets` names its folder."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """Bytes of each data file."""
    sha256: dict[str, str] = Field(default_factory=dict)


def find_prepared_folder(data_set: TaskDataSet, cache: Path) -> Path | str:
    """The folder that `datasets` reads without a network, or a message why it would read none.

    The message is empty if nothing of the configuration exists. The rules are those of
    `datasets.packaged_modules.cache`: the newest folder of the configuration; of any configuration
    if none is named.
    """
    root, folders = cache / data_set.folder, configuration_folders(data_set, cache)
    # datasets checks the name in each folder, unless arguments are part of the folder's name.
    by_name = data_set.config_id in (None, data_set.name)
    for folder in unfinished_folders(data_set, cache) if by_name else ():
        return f"{folder} is incomplete, or its {INFO_FILE} is damaged"
    fitting = [one for one in folders if not by_name or config_name(one) == one.parts[-3]]
    if not fitting:
        return ""
    newest = max(fitting, key=lambda folder: folder.stat().st_mtime)
    same = [one for one in fitting if one.parts[-2:] == newest.parts[-2:]]
    if data_set.config_id is None and len(same) > 1:
        names = ", ".join(sorted(one.parts[-3] for one in same))
        return (
            f"is ambiguous without a network: {root} holds several configurations ({names}); "
            "give the task a dataset_name"
        )
    return newest


def configuration_folders(data_set: TaskDataSet, cache: Path) -> list[Path]:
    """Every folder `<configuration>/<version>/<hash>` that may hold a configuration."""
    root = cache / data_set.folder
    named = [root / data_set.config_id] if data_set.config_id else subfolders(root)
    return [
        one for config in named for version in subfolders(config) for one in subfolders(version)
    ]


def unfinished_folders(data_set: TaskDataSet, cache: Path) -> list[Path]:
    """Folders without valid dataset info: datasets fails if it finds one."""
    folders = configuration_folders(data_set, cache)
    return [one for one in folders if read_dataset_info(one) is None]


def subfolders(folder: Path) -> list[Path]:
    """Sorted subfolders; empty if the folder does not exist."""
    try:
        return sorted(one for one in folder.iterdir() if one.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def config_name(folder: Path) -> str | None:
    """Configuration name in a folder's dataset info; None if that is damaged."""
    info = read_dataset_info(folder)
    return str(info.get("config_name")) if info else None


def read_dataset_info(folder: Path) -> dict[str, Any] | None:
    """Read `dataset_info.json`; None if missing or damaged."""
    try:
        found = read_json(folder / INFO_FILE)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def folder_faults(folder: Path, data_set: TaskDataSet) -> Iterator[str]:
    """Faults of a prepared configuration, from names, sizes, first and last bytes of files."""
    info = read_dataset_info(folder)
    if info is None or not isinstance(info.get("splits"), dict):
        yield f"{folder / INFO_FILE} is missing or damaged"
        return
    for split in data_set.splits:
        if split not in info["splits"]:
            yield f"has no split {split!r}: {', '.join(info['splits'])}"
    receipt = Receipt.read_if_valid(folder / RECEIPT_FILE)
    for name in list_arrow_files(info):
        if fault := file_fault(folder / name, receipt.sizes.get(name) if receipt else None):
            yield f"{folder / name} {fault}"


def list_arrow_files(info: Mapping[str, Any]) -> Iterator[str]:
    """Names of the Arrow files of all splits, as `datasets` names them."""
    for split, facts in info["splits"].items():
        stem, shards = f"{info.get('dataset_name')}-{split}", facts.get("shard_lengths") or [0]
        if len(shards) == 1:
            yield f"{stem}.arrow"
        else:
            yield from (f"{stem}-{n:05d}-of-{len(shards):05d}.arrow" for n in range(len(shards)))


def file_fault(path: Path, size: int | None) -> str | None:
    """The fault of an Arrow file, from its size, if known, and its first and last bytes."""
    try:
        found = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(len(ARROW_BEGIN))
            file.seek(max(0, found - len(ARROW_END)), os.SEEK_SET)
            end = file.read()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if size is not None and found != size:
        return f"is damaged: {found} bytes of {size}"
    if (begin, end) != (ARROW_BEGIN, ARROW_END):
        return "is damaged: not a complete Arrow stream"
    return None


def content_faults(folder: Path) -> list[str]:
    """Read all files; a line for each whose content is not what was fetched."""
    from hala_hpc.core.file_facts import compute_file_digest

    receipt = Receipt.read_if_valid(folder / RECEIPT_FILE)
    found = []
    for name, digest in (receipt.sha256 if receipt else {}).items():
        path = folder / name
        if path.is_file() and compute_file_digest(path) != digest:
            found.append(f"{path} is damaged: its content is not what was fetched")
    return found
