"""The proof that nodes find what they read without a network: a child opens it with none."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hala_hpc.commands.fetching.download import faults_in
from hala_hpc.commands.planning.hub_pieces import Wanted, files_in
from hala_hpc.core.environment import OFFLINE
from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.hub import fetched_folder
from hala_hpc.core.hub_piece import HubSite
from hala_hpc.core.hub_tree import HubFile, read_tree
from hala_hpc.core.paths import ROOT
from hala_hpc.core.record import Record

#: Ways into a network of one's own with nothing in it: as root, else in a namespace of a user.
CUT = (("unshare", "-n"), ("unshare", "-r", "-n"))
#: Digits of a digest by which the hub cache names a file: SHA-256, or SHA-1 of git.
SHA256_DIGITS, SHA1_DIGITS = 64, 40


class OfflineReport(Record):
    """What the child without a network found."""

    opened: tuple[str, ...] = ()
    """What could be opened, for people."""
    mistakes: tuple[str, ...] = ()
    """What could not, a line each."""


def cut_off() -> tuple[str, ...]:
    """The words before a command that take its network away; empty where none of them works."""
    for words in CUT:
        try:
            done = subprocess.run([*words, "true"], capture_output=True, check=False, timeout=60)
        except OSError:
            continue
        if done.returncode == 0:
            return words
    return ()


def open_without_network(site: HubSite, words: Sequence[str], cut: Sequence[str]) -> OfflineReport:
    """Let a child open what the nodes of a line read; `cut` are the words of `cut_off`.

    Raises UserError (70) for a child that dies.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), site.environment.get("PYTHONPATH", "")]))
    environment = {**site.environment, **OFFLINE, "PYTHONPATH": path}
    with tempfile.TemporaryDirectory(prefix="hala-fetch-") as folder:
        report, log = Path(folder, "report.json"), Path(folder, "log")
        command = [*cut, site.python, "-m", "hala_hpc.commands.fetching.open_offline", str(report)]
        with log.open("wb") as file:
            subprocess.run(
                [*command, *words], env=environment, stdout=file, stderr=file, check=False
            )
        found = OfflineReport.read_if_sound(report)
        if found is None:
            said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            told = "the process that opens what was fetched ended before it was done"
            raise UserError([told, *said], INTERNAL)
    return found


def damaged_files(
    wanted: Sequence[Wanted], environment: Mapping[str, str]
) -> Iterator[tuple[Path, str]]:
    """The files of what was fetched whose content is not the hub's, and what is wrong with each.

    Every file is read.
    """
    for one in wanted:
        folder = fetched_folder(one.kind, one.reference, environment)
        if folder is not None:
            for name, fault in faults_in(folder, known_files(one, folder)).items():
                yield folder / name, f"{one.reference}: {fault}"


def known_files(wanted: Wanted, snapshot: Path) -> dict[str, HubFile]:
    """The files of a snapshot that are read and here in their size, with what the hub told of them.

    Without a list of the commit the cache tells the digest: it names each file by it.
    """
    tree = read_tree(snapshot.parent.parent, snapshot.name)
    if tree is None:
        found = {str(one.relative_to(snapshot)): named_by_digest(one) for one in files_in(snapshot)}
        return {name: file for name, file in found.items() if file}
    try:
        names = wanted.names(list(tree))
    except UserError:
        # The look at names tells that.
        return {}
    here = [name for name in names if (snapshot / name).is_file()]
    return {n: tree[n] for n in here if (snapshot / n).stat().st_size == tree[n].size}


def named_by_digest(path: Path) -> HubFile | None:
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
