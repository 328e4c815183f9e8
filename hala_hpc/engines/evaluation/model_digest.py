"""Digest of all files of a model that its answers depend on: weights, config and tokenizer.

Digests that are known are not computed again: a node's summary has those of its files, the hub
cache names weights by theirs, and those of other folders are stored beside the evaluations.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.core.file_facts import compute_file_digests
from hala_hpc.core.fingerprint import fingerprint_path
from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.models.files import TOKENIZER_EXTRA_FILES, TOKENIZER_FILES, weight_files

#: Hexadecimal digits of a SHA-256; names of smaller files in the hub cache have fewer.
DIGEST_LENGTH = 64


class FolderDigests(JsonRecord):
    """Digests of the files of a model folder, as it was with these names, sizes and times."""

    sha256: dict[str, str]


def list_model_files(folder: Path) -> list[str]:
    """Names of the files that the answers of a model depend on, in order."""
    names = {"config.json", *TOKENIZER_FILES, *TOKENIZER_EXTRA_FILES}
    found = {path.name for path in weight_files(folder)}
    return sorted(found | {name for name in names if (folder / name).is_file()})


def digest_model(folder: Path, known: Mapping[str, str], store: Path) -> str:
    """SHA-256 over the names and digests of a model's files.

    `known`: digests of files by name; `store`: folder for those that take long to compute.

    Raises: UserError (NO_INPUT) if there are no weights.
    """
    names = list_model_files(folder)
    if not weight_files(folder):
        raise UserError(f"{folder}: no weights; give a complete model", NO_INPUT)
    digests = {name: known[name] for name in names if name in known}
    digests |= {name: blob for name in names if (blob := name_of_blob(folder / name))}
    if rest := [name for name in names if name not in digests]:
        record = store / f"{fingerprint_path(folder)}.json"
        stored = FolderDigests.read_if_valid(record)
        if stored is None or not set(rest) <= stored.sha256.keys():
            stored = FolderDigests(sha256=compute_file_digests(folder, rest))
            stored.write(record)
        digests |= {name: stored.sha256[name] for name in rest}
    found = sha256()
    for name in names:
        found.update(f"{name} {digests[name]}\n".encode())
    return found.hexdigest()


def name_of_blob(path: Path) -> str:
    """The SHA-256 in the name of a large file of the hub cache; empty for other files."""
    name = path.readlink().name if path.is_symlink() else ""
    return name if len(name) == DIGEST_LENGTH else ""
