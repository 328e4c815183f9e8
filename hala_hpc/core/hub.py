"""References to models and data sets of the hub, and where its cache has the fetched files.

A reference is `owner/name`, or `owner/name@revision` with a branch, tag or commit; without one it
means `main`. Compute nodes are offline: there, a reference means what was fetched.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

#: `owner/name` or `owner/name@revision`; anything else is a path.
HUB_ID = re.compile(
    r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)*))?"
)
#: Form of the name of a snapshot folder.
COMMIT_FOLDER = re.compile(r"\w+")
#: Suffixes of files that prepare reads: `data/rows.csv` is a path, whether or not it exists.
FILE_ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".gz")
#: Repository types of the hub for the kinds of input that it holds; nodes make corpora and tokens.
HUB_NAMES = {"model": "models", "files": "datasets"}
#: The branch if a reference names no revision.
DEFAULT_REVISION = "main"


class HubReference(NamedTuple):
    """The parts of a reference."""

    name: str
    """`owner/name`."""
    revision: str | None
    """Branch, tag or commit; None if there is none."""


def is_hub_id(value: str) -> bool:
    """Whether a value is a hub reference: of that form, and not the path of a file or folder."""
    return (
        bool(HUB_ID.fullmatch(value))
        and not value.endswith(FILE_ENDINGS)
        and not Path(value).exists()
    )


def parse_hub_reference(value: str) -> HubReference:
    """Split a reference into name and revision; any other value is all name."""
    found = HUB_ID.fullmatch(value)
    return HubReference(found[1], found[2]) if found else HubReference(value, None)


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Folder of the hub cache, from the variables of huggingface_hub."""
    if "HF_HUB_CACHE" in environment:
        return Path(environment["HF_HUB_CACHE"]).expanduser()
    home = environment.get("HF_HOME") or Path(
        environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return Path(home).expanduser() / "hub"


def find_hub_cache(kind: str, environment: Mapping[str, str]) -> Path:
    """Folder of the cache of models, datasets or kernels; kernels have a variable of their own."""
    if kind == "kernels" and (own := environment.get("KERNELS_CACHE")):
        return Path(own).expanduser()
    return hub_cache(environment)


def repository_folder(cache: Path, kind: str, name: str) -> Path:
    """Folder of a repository in the hub cache; `kind`: models, datasets or kernels; no revision."""
    return cache / f"{kind}--{name.replace('/', '--')}"


def fetched_commit(repository: Path, revision: str | None) -> str | None:
    """The commit that a revision means in the hub cache; None if it was not fetched.

    In a folder without any revision name, e.g. one put there by hand, it is the newest.
    """
    snapshots = repository / "snapshots"
    wanted = revision or DEFAULT_REVISION
    reference = repository / "refs" / wanted
    if reference.is_file():
        commit = reference.read_text(encoding="utf-8", errors="replace").strip()
        # Only the name of a folder is valid: `snapshots/` itself is not a commit.
        return commit if COMMIT_FOLDER.fullmatch(commit) and (snapshots / commit).is_dir() else None
    if revision:
        # A commit has no file in `refs/`.
        return revision if "/" not in revision and (snapshots / revision).is_dir() else None
    if any(one.is_file() for one in (repository / "refs").rglob("*")):
        return None
    newest = max(
        snapshots.glob("*"), key=lambda folder: (folder.stat().st_mtime, folder.name), default=None
    )
    return newest.name if newest else None


def fetched_folder(kind: str, value: str, environment: Mapping[str, str]) -> Path | None:
    """The snapshot that a reference means in the cache of `environment`; None if not fetched.

    `kind`: models, datasets or kernels. None also if the value is a path. Nothing else turns a
    reference into a folder without a network.
    """
    if not is_hub_id(value):
        return None
    name, revision = parse_hub_reference(value)
    repository = repository_folder(find_hub_cache(kind, environment), kind, name)
    commit = fetched_commit(repository, revision)
    return repository / "snapshots" / commit if commit else None


def model_folder(model: str) -> Path | None:
    """The folder of a model that is on the disk, by its path or fetched; None if it is not.

    Uses the hub cache of this process. A launch has the variables of a shell and not of its jobs:
    stages ask their `inputs` for the folder.
    """
    path = Path(model).expanduser()
    return path if path.is_dir() else fetched_folder("models", model, os.environ)


def is_hub_offline(environment: Mapping[str, str], default: bool) -> bool:
    """Whether HF_HUB_OFFLINE keeps huggingface_hub offline, as the library reads it.

    `default` applies if the variable is not set: jobs are offline, a person's shell is not.
    """
    value = environment.get("HF_HUB_OFFLINE")
    return default if value is None else is_true_value(value)


def is_true_value(value: str) -> bool:
    """Whether huggingface_hub and datasets read the value of a variable as true."""
    return value.upper() in ("1", "ON", "YES", "TRUE")
