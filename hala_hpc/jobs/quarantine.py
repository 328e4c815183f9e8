"""Put aside what is damaged of a work folder, before anything is run or removed in it.

Only what is safe to be absent: it is made again, or tells of nothing that is needed. It keeps its
content under another name. The lease of the folder is held.
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

#: Files of a node, and the folders that it may have.
FILES = ("config.json", "summary.json", "failure.json", "jobs.json")
FOLDERS = (
    *("attempts", "claims", "done", "kept", "logs", "output", "progress", "rounds", "shared"),
    "units",
)
#: Names in a folder that files must have, and those that folders must have.
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
    """Put aside what is damaged beside the nodes; what was done, for people.

    Raises: UserError (CONFIG) where another user could have written who waits for room.
    """
    wrong = [path for path in (work / "latest", work / "cache") if blocks_folder(path)]
    wrong += [path for path in (run_file(work), waiting_list_file(work)) if blocks_file(path)]
    done = [quarantine(path) for path in wrong]
    # A link is written anew; what is no link was put there by hand.
    found = [path for path in (work / "latest").glob("*") if not path.is_symlink()]
    done += [quarantine(path) for path in found if DAMAGED_SUFFIX not in path.name]
    try:
        WaitingList.read_own(waiting_list_file(work))
    except Damaged as error:
        done.append(quarantine(waiting_list_file(work), error))
    return done


def quarantine_node_files(artifact: Artifact, is_done: bool) -> list[str]:
    """Put aside what is damaged of a node; what was done, for people.

    Of a node that is done its markers are not read. Raises: UserError where it cannot be written.
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
    """Put aside files in the places of folders of a node, and what is no file in those of files."""
    if blocks_folder(artifact.folder):
        return [quarantine(artifact.folder)]
    return [quarantine(path) for path in list(misplaced_paths(artifact.folder))]


def require_node_access(artifact: Artifact) -> None:
    """Raise UserError where jobs of this user could not read and write the folder of a node.

    Before they run: a job would find that out after its model is loaded.
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
    """Whether this process may read and write a file or folder."""
    wanted = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
    return os.access(path, wanted, effective_ids=True)


def misplaced_paths(folder: Path) -> Iterator[Path]:
    """What stands in the place of something of another kind."""
    for name in FILES:
        if blocks_file(folder / name):
            yield folder / name
    for name in FOLDERS:
        if blocks_folder(folder / name):
            yield folder / name
    for name, form in FILES_IN.items():
        yield from (path for path in (folder / name).glob(form) if blocks_file(path))
    for name, form in FOLDERS_IN.items():
        # Those that were put aside bear the same number.
        yield from (
            path
            for path in (folder / name).glob(form)
            if path.name.isdigit() and blocks_folder(path)
        )


def blocks_file(path: Path) -> bool:
    """Whether something else is where a file should be: a folder, a pipe, a link to nothing."""
    return os.path.lexists(path) and not path.is_file()


def blocks_folder(path: Path) -> bool:
    """Whether something else is where a folder should be: a file, a link to nothing."""
    return os.path.lexists(path) and not path.is_dir()


def quarantine(path: Path, error: Damaged | None = None) -> str:
    """Put something aside; what was done, for people."""
    fault = error.fault if error else "is not what belongs there"
    aside = set_aside(path)
    return f"{path} {fault}: " + (f"put aside as {aside.name}" if aside else "it is gone")


def require_own_records(artifacts: list[Artifact]) -> None:
    """Raise UserError (CONFIG) where other users could have written what jobs are run by.

    All such files are named at once. Damaged ones are told of where they are read.
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
