"""The proof that nodes find what they read without a network: a child opens it with none."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hala_hpc.commands.fetching.download import find_digest_faults
from hala_hpc.commands.planning.hub_dependencies import RequiredRepository, list_files_under
from hala_hpc.core.environment import OFFLINE
from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.hub import fetched_folder
from hala_hpc.core.hub_dependency import HubSite
from hala_hpc.core.hub_tree import HubFile, read_tree
from hala_hpc.core.paths import ROOT
from hala_hpc.core.record import JsonRecord

#: Ways into a network of one's own with nothing in it: as root, else in a namespace of a user.
NO_NETWORK_PREFIXES = (("unshare", "-n"), ("unshare", "-r", "-n"))
#: Digits of a digest by which the hub cache names a file: SHA-256, or SHA-1 of git.
SHA256_DIGITS, SHA1_DIGITS = 64, 40


class OfflineReport(JsonRecord):
    """What the child without a network found."""

    opened: tuple[str, ...] = ()
    """What could be opened, for people."""
    mistakes: tuple[str, ...] = ()
    """What could not, a line each."""


def find_no_network_prefix() -> tuple[str, ...]:
    """The words before a command that take its network away; empty where none of them works."""
    for prefix in NO_NETWORK_PREFIXES:
        try:
            done = subprocess.run([*prefix, "true"], capture_output=True, check=False, timeout=60)
        except OSError:
            continue
        if done.returncode == 0:
            return prefix
    return ()


def open_without_network(
    site: HubSite, overrides: Sequence[str], prefix: Sequence[str]
) -> OfflineReport:
    """Let a child open what the nodes of a line read; `cut` are the words of `find_no_network_prefix`.

    Raises UserError (70) for a child that dies.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), site.environment.get("PYTHONPATH", "")]))
    environment = {**site.environment, **OFFLINE, "PYTHONPATH": path}
    with tempfile.TemporaryDirectory(prefix="hala-fetch-") as folder:
        report, log = Path(folder, "report.json"), Path(folder, "log")
        command = [
            *prefix,
            site.python,
            "-m",
            "hala_hpc.commands.fetching.open_offline",
            str(report),
        ]
        with log.open("wb") as file:
            subprocess.run(
                [*command, *overrides], env=environment, stdout=file, stderr=file, check=False
            )
        found = OfflineReport.read_if_valid(report)
        if found is None:
            log_tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            message = "the process that opens what was fetched ended before it was done"
            raise UserError([message, *log_tail], INTERNAL)
    return found


def find_damaged_files(
    wanted: Sequence[RequiredRepository], environment: Mapping[str, str]
) -> Iterator[tuple[Path, str]]:
    """The files of what was fetched whose content is not the hub's, and what is wrong with each.

    Every file is read.
    """
    for one in wanted:
        folder = fetched_folder(one.kind, one.reference, environment)
        if folder is not None:
            for name, fault in find_digest_faults(folder, known_files(one, folder)).items():
                yield folder / name, f"{one.reference}: {fault}"


def known_files(wanted: RequiredRepository, snapshot: Path) -> dict[str, HubFile]:
    """The files of a snapshot that are read and here in their size, with what the hub told of them.

    Without a list of the commit the cache tells the digest: it names each file by it.
    """
    tree = read_tree(snapshot.parent.parent, snapshot.name)
    if tree is None:
        found = {
            str(one.relative_to(snapshot)): read_blob_name(one)
            for one in list_files_under(snapshot)
        }
        return {name: file for name, file in found.items() if file}
    try:
        names = wanted.names(list(tree))
    except UserError:
        # The look at names tells that.
        return {}
    here = [name for name in names if (snapshot / name).is_file()]
    return {n: tree[n] for n in here if (snapshot / n).stat().st_size == tree[n].size}


def read_blob_name(path: Path) -> HubFile | None:
    """Size and digest of a file of the hub cache, by the name of what it is a link to.

    Not of what lies behind all links: content that repositories share has a name of Xet storage.
    """
    behind = path.readlink() if path.is_symlink() else path
    if behind.parent.name != "blobs":
        return None
    size, digits = path.stat().st_size, len(behind.name)
    if digits == SHA256_DIGITS:
        return HubFile(size, behind.name, "")
    return HubFile(size, "", behind.name) if digits == SHA1_DIGITS else None
