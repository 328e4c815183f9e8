"""Check that nodes find what they read without a network: a child process opens it offline."""

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

#: Commands that start an empty network namespace: as root, else in a user namespace.
NO_NETWORK_PREFIXES = (("unshare", "-n"), ("unshare", "-r", "-n"))
#: Length of a digest in hex, by which the hub cache names a file: SHA-256, or git's SHA-1.
SHA256_DIGITS, SHA1_DIGITS = 64, 40


class OfflineReport(JsonRecord):
    """Report of the child process without a network."""

    opened: tuple[str, ...] = ()
    """What could be opened, for people."""
    mistakes: tuple[str, ...] = ()
    """What could not be opened, one message each."""


def find_no_network_prefix() -> tuple[str, ...]:
    """The command prefix that removes the network; empty if none works here."""
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
    """Let a child process open what the nodes of a command line read.

    `prefix`: from `find_no_network_prefix`. Raises: UserError (INTERNAL) if the child dies.
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
            message = "the process that opens the fetched files exited before it was finished"
            raise UserError([message, *log_tail], INTERNAL)
    return found


def find_damaged_files(
    wanted: Sequence[RequiredRepository], environment: Mapping[str, str]
) -> Iterator[tuple[Path, str]]:
    """Find fetched files whose content differs from the hub's; every file is read."""
    for one in wanted:
        folder = fetched_folder(one.kind, one.reference, environment)
        if folder is not None:
            for name, fault in find_digest_faults(folder, known_files(one, folder)).items():
                yield folder / name, f"{one.reference}: {fault}"


def known_files(wanted: RequiredRepository, snapshot: Path) -> dict[str, HubFile]:
    """The files of a snapshot that are read and here in their size, with the hub's digests.

    Without a file list of the commit the digest is in the cache: it is the name of the file.
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
        # Reported by the check of names and sizes.
        return {}
    here = [name for name in names if (snapshot / name).is_file()]
    return {n: tree[n] for n in here if (snapshot / n).stat().st_size == tree[n].size}


def read_blob_name(path: Path) -> HubFile | None:
    """Size and digest of a file of the hub cache, from the name of its link target.

    Only one link is followed: content shared by repositories has a name of Xet storage.
    """
    behind = path.readlink() if path.is_symlink() else path
    if behind.parent.name != "blobs":
        return None
    size, digits = path.stat().st_size, len(behind.name)
    if digits == SHA256_DIGITS:
        return HubFile(size, behind.name, "")
    return HubFile(size, "", behind.name) if digits == SHA1_DIGITS else None
