"""Models and data sets of the hub: which ones a plan names, and which are on the disk.

Compute nodes work offline, so what is missing has to be fetched before anything is submitted.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from hala_hpc.core.settings import StageSettings

#: `organisation/name`; anything else is a path.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: What the hub calls the inputs that it holds; a corpus or tokens are made by nodes.
HUB_NAMES = {"model": "models", "files": "datasets"}


def is_hub_id(value: str) -> bool:
    """Whether a reference is meant for the hub: of its form, and no file or folder here."""
    return (
        bool(HUB_ID.fullmatch(value))
        and not Path(value).suffix.startswith((".json", ".parquet", ".csv", ".tsv"))
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
        if not any(cache.glob(f"{kind}--{name.replace('/', '--')}/snapshots/*"))
    ]


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Folder of the hub cache, after the variables of huggingface_hub."""
    if "HF_HUB_CACHE" in environment:
        return Path(environment["HF_HUB_CACHE"]).expanduser()
    home = environment.get("HF_HOME") or Path(
        environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return Path(home).expanduser() / "hub"


def fetch_command(kind: str, name: str) -> str:
    """What to type on a machine with a network."""
    return f"hf download {'--repo-type dataset ' if kind == 'datasets' else ''}{name}"
