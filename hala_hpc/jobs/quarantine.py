"""Quarantine damaged files of a work folder, before anything is run or removed in it.

Only files whose absence is safe: they are written again, or hold nothing that is needed. They are
renamed with their content. The lease of the work folder is held.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import DAMAGED_SUFFIX, Damaged, describe_permission_fix, set_aside
from hala_hpc.core.errors import CONFIG, NO_INPUT, UserError
from hala_hpc.core.records import NodeConfig, Round, WaitingList
from hala_hpc.core.run import run_file
from hala_hpc.jobs.waiting_list import waiting_list_file

#: Files of a node, and folders that it may have.
FILES = ("config.json", "summary.json", "failure.json", "jobs.json")
FOLDERS = (
    *("attempts", "claims", "done", "kept", "logs", "output", "progress", "rounds", "shared"),
    "units",
)
#: Patterns of names in a folder that must be files, and of those that must be folders.
FILES_IN = {
    "attempts": "*.json",
    "claims": "*.json",
    "done": "*.json",
    "logs": "worker-*.log",
    "progress": "*.json",
    "rounds": "*.json",
    "shared": "*.json",
}
FOLDERS_IN = {"kept": "[0-9]*", "units": "[0-9]*"}


def quarantine_run_files(work: Path) -> list[str]:
    """Quarantine damaged files beside the nodes; return messages of what was done.

    Raises: UserError (CONFIG) if another user could have written the waiting list.
    """
    wrong = [path for path in (work / "latest", work / "cache") if blocks_folder(path)]
    wrong += [path for path in (run_file(work), waiting_list_file(work)) if blocks_file(path)]
    done = [quarantine(path) for path in wrong]
    # A link is written again; anything else was put there by hand.
    found = [path for path in (work / "latest").glob("*") if not path.is_symlink()]
    done += [quarantine(path) for path in found if DAMAGED_SUFFIX not in path.name]
    try:
        WaitingList.read_own(waiting_list_file(work))
    except Damaged as error:
        done.append(quarantine(waiting_list_file(work), error))
    return done


def quarantine_node_files(artifact: Artifact, is_done: bool) -> list[str]:
    """Quarantine damaged files of a node; return messages of what was done.

    Markers of a finished node are not read.

    Raises: UserError (NO_INPUT) if the folder of an unfinished node cannot be read and written.
    """
    done = quarantine_misplaced(artifact)
    if not is_done:
        require_node_access(artifact)
    try:
        artifact.config()
    except Damaged as error:
        done.append(quarantine(artifact.config_file, error))
    for unit in [] if is_done else artifact.done_units():
        try:
            artifact.marker(unit)
        except Damaged as error:
            done.append(quarantine(artifact.marker_file(unit), error))
    return done


def quarantine_misplaced(artifact: Artifact) -> list[str]:
    """Quarantine files that block folders of a node, and non-files that block its files."""
    if blocks_folder(artifact.folder):
        return [quarantine(artifact.folder)]
    return [quarantine(path) for path in list(misplaced_paths(artifact.folder))]


def require_node_access(artifact: Artifact) -> None:
    """Check before jobs run that this user can read and write the folder of a node.

    A job would find this out only after its model is loaded.

    Raises: UserError (NO_INPUT) with one line for each inaccessible path.
    """
    folder = artifact.folder
    places = [folder, *(folder / name for name in FOLDERS), *artifact.logs.glob(FILES_IN["logs"])]
    closed = [path for path in places if os.path.lexists(path) and not is_accessible(path)]
    if closed:
        raise UserError(
            [
                f"{path} cannot be read and written: {describe_permission_fix(path)}"
                for path in closed
            ],
            NO_INPUT,
        )


def is_accessible(path: Path) -> bool:
    """Whether this process can read and write a file or folder."""
    wanted = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
    return os.access(path, wanted, effective_ids=True)


def misplaced_paths(folder: Path) -> Iterator[Path]:
    """Paths of a node that have the wrong kind: a file for a folder, or the reverse."""
    for name in FILES:
        if blocks_file(folder / name):
            yield folder / name
    for name in FOLDERS:
        if blocks_folder(folder / name):
            yield folder / name
    for name, form in FILES_IN.items():
        yield from (path for path in (folder / name).glob(form) if blocks_file(path))
    for name, form in FOLDERS_IN.items():
        # Quarantined folders start with the same number.
        yield from (
            path
            for path in (folder / name).glob(form)
            if path.name.isdigit() and blocks_folder(path)
        )


def blocks_file(path: Path) -> bool:
    """Whether a path that should be a file is something else: a folder, a pipe, a broken link."""
    return os.path.lexists(path) and not path.is_file()


def blocks_folder(path: Path) -> bool:
    """Whether a path that should be a folder is something else: a file, a broken link."""
    return os.path.lexists(path) and not path.is_dir()


def quarantine(path: Path, error: Damaged | None = None) -> str:
    """Rename a damaged path; return a message of what was done."""
    fault = error.fault if error else "has the wrong file type"
    aside = set_aside(path)
    return f"{path} {fault}: " + (f"renamed to {aside.name}" if aside else "it is missing")


def require_own_records(artifacts: list[Artifact]) -> None:
    """Check that no other user could have written the records that decide what jobs run.

    Damaged files are reported where they are read.

    Raises: UserError (CONFIG) that names all such files.
    """
    mistakes: list[str] = []
    for artifact in artifacts:
        newest = artifact.round_file(artifact.last_round())
        for kind, path in ((NodeConfig, artifact.config_file), (Round, newest)):
            try:
                kind.read_own(path)
            except Damaged:
                continue
            except UserError as error:
                mistakes += error.mistakes
    if mistakes:
        raise UserError(mistakes, CONFIG)
