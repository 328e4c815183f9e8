"""The file list of a commit, which huggingface_hub stores beside the fetched files.

`<repository>/trees/<commit>.json` names every file of the commit with its size and digest. So what
a download lacks shows without a network. Caches of huggingface_hub before 2 have no such lists.

Of a kernel a single build is fetched. The library `kernels` requires all builds of a commit that
has a list, even without a network. Such a list is renamed to `<commit>.hala.json`.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from hala_hpc.core.files import read_json

#: Version of the list that is supported; a list of another version counts as missing.
FORMAT = 1
BLOCK_BYTES = 2**22


class HubFile(NamedTuple):
    """A file of a commit."""

    size: int
    """Bytes."""
    sha256: str
    """Digest of a large file; empty if the hub gives none."""
    git_sha1: str
    """git's digest of a small file; for a large one, that of its pointer."""


def read_tree(repository: Path, commit: str) -> dict[str, HubFile] | None:
    """The files of a commit by their paths in it; None without a list that is supported."""
    try:
        paths = (tree_file(repository, commit), tree_aside_file(repository, commit))
        found = next(filter(None, map(read_json, paths)), None)
        if not found or found["format_version"] != FORMAT:
            return None
        return {name: parse_hub_file(facts) for name, facts in found["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # The file is the library's: one that it cannot read it requests from the hub again.
        return None


def tree_file(repository: Path, commit: str) -> Path:
    """Path where huggingface_hub stores the list of a commit."""
    return repository / "trees" / f"{commit}.json"


def tree_aside_file(repository: Path, commit: str) -> Path:
    """Path of a list that huggingface_hub must not read."""
    return repository / "trees" / f"{commit}.hala.json"


def set_tree_aside(repository: Path, commit: str) -> None:
    """Hide the list of a commit from huggingface_hub, as parts of it are never fetched.

    Raises OSError.
    """
    if (found := tree_file(repository, commit)).exists():
        found.replace(tree_aside_file(repository, commit))


def parse_hub_file(facts: dict[str, object]) -> HubFile:
    """Parse one entry of a list. Raises KeyError or TypeError."""
    size = facts.get("lfs_size") or facts["size"]
    if not isinstance(size, int):
        raise TypeError(size)
    return HubFile(size, str(facts.get("lfs_sha256") or ""), str(facts["blob_id"]))


def describe_digest_fault(path: Path, expected: HubFile) -> str:
    """What is wrong with the content of a file; empty if its digest is that of the hub.

    The whole file is read. Raises OSError.
    """
    if expected.sha256:
        digest, wanted = hashlib.sha256(), expected.sha256
    else:
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        wanted = expected.git_sha1
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    if digest.hexdigest() == wanted:
        return ""
    return f"{path.name} has the right size but different content than on the hub"
