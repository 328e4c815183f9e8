"""Models and data sets of the hub: what is one, where its cache keeps it, which are missing.

Compute nodes work offline, so what is missing has to be fetched before anything is submitted.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from hala_hpc.core.settings import StageSettings

#: `organisation/name`; anything else is a path.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: Endings of files that prepare reads: `data/rows.csv` is a path, whether or not it is there.
FILE_ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".gz")
#: What the hub calls the inputs that it holds; a corpus or tokens are made by nodes.
HUB_NAMES = {"model": "models", "files": "datasets"}


def is_hub_id(value: str) -> bool:
    """Whether a reference is meant for the hub: of its form, and no file or folder here."""
    return (
        bool(HUB_ID.fullmatch(value))
        and not value.endswith(FILE_ENDINGS)
        and not Path(value).exists()
    )


def hub_words(settings: Iterable[StageSettings]) -> list[tuple[str, str]]:
    """`(models or datasets, id)` of everything that some settings take from the hub."""
    found = {
        (HUB_NAMES[kind], value)
        for one in settings
        for _, value, reference in one.references()
        for kind in reference.kinds
        if kind in HUB_NAMES and is_hub_id(value)
    }
    return sorted(found)


def not_fetched(
    words: Iterable[tuple[str, str]], environment: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Those that have no snapshot in the hub cache that `environment` names."""
    cache = hub_cache(environment)
    return [
        (kind, name)
        for kind, name in words
        if snapshot_folder(repository_folder(cache, kind, name)) is None
    ]


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Folder of the hub cache, after the variables of huggingface_hub."""
    if "HF_HUB_CACHE" in environment:
        return Path(environment["HF_HUB_CACHE"]).expanduser()
    home = environment.get("HF_HOME") or Path(
        environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return Path(home).expanduser() / "hub"


def repository_folder(cache: Path, kind: str, name: str) -> Path:
    """Folder of a model (`kind` models) or data set (datasets) in the hub cache."""
    return cache / f"{kind}--{name.replace('/', '--')}"


def snapshot_folder(repository: Path) -> Path | None:
    """The snapshot that `main` names, else the newest; None where nothing was fetched."""
    reference = repository / "refs" / "main"
    if reference.is_file():
        named = repository / "snapshots" / reference.read_text().strip()
        if named.is_dir():
            return named
    return max(
        repository.glob("snapshots/*"), key=lambda folder: folder.stat().st_mtime, default=None
    )


def model_folder(model: str) -> Path | None:
    """The folder of a model that is on the disk, by its path or fetched; None where it is not."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if not is_hub_id(model):
        return None
    return snapshot_folder(repository_folder(hub_cache(os.environ), "models", model))


def is_hub_off(environment: Mapping[str, str], default: bool) -> bool:
    """Whether HF_HUB_OFFLINE keeps huggingface_hub off the network, as it reads it itself.

    `default` counts where the variable is not set: jobs are offline, a person's shell is not.
    """
    value = environment.get("HF_HUB_OFFLINE")
    return default if value is None else is_true_value(value)


def is_true_value(value: str) -> bool:
    """Whether huggingface_hub and datasets read the value of a variable as true."""
    return value.upper() in ("1", "ON", "YES", "TRUE")


def fetch_command(kind: str, name: str) -> str:
    """What to type on a machine with a network."""
    return f"hf download {'--repo-type dataset ' if kind == 'datasets' else ''}{name}"
