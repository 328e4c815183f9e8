"""Checkpoints that are committed completely or not used.

A checkpoint is written into a staging folder of the attempt and synced to the disk. Other ranks
than its writers read it back to compute its digests. Then COMMIT.json is written and the folder
renamed to `checkpoint-<step>`. All ranks must call the functions documented as collective.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.files import fsync_path
from hala_hpc.core.job_records import CheckpointCommit, SavedFile
from hala_hpc.engines.training.collectives import rank_and_world, run_on_all_ranks

COMMIT_FILE = "COMMIT.json"
#: Holds a folder for each attempt; a leading dot means that it is not finished.
STAGING = ".staging"
#: Models of some steps, complete ones only, until the training is finished.
SNAPSHOTS = "snapshots"
#: Folder of each rank's progress; see `watchdog`.
RANKS = ".ranks"
#: Checkpoints as they are saved, and those converted for another number of ranks.
KINDS = ("checkpoint", "universal")

Files = dict[str, SavedFile]


def staging_folder(state_dir: Path, attempt: str) -> Path:
    """Return the folder in which an attempt saves; no other attempt writes there."""
    return state_dir / STAGING / attempt


def list_checkpoints(state_dir: Path, kind: str = "checkpoint") -> list[Path]:
    """Return the folders `<kind>-<step>`, the newest step first."""
    found = [p for p in state_dir.glob(f"{kind}-*") if p.name.partition("-")[2].isdigit()]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """Return the step at which a checkpoint was saved."""
    return int(checkpoint.name.partition("-")[2])


def commit_checkpoint(
    staged: Path, final: Path, commit: CheckpointCommit, check_allowed: Callable[[], None]
) -> None:
    """Sync a staged checkpoint, read it back, write COMMIT.json and rename it to `final`.

    Collective. `commit` is written with the files; `check_allowed` raises TransientError if
    this attempt may no longer publish. An error on one rank is raised on all.
    """
    rank, world = rank_and_world()
    names = sorted(set().union(*run_on_all_ranks(lambda: sync_tree(staged))))
    parts = run_on_all_ranks(
        lambda: compute_digests(staged, files_to_read_back(names, rank, world))
    )
    files: Files = {name: file for part in parts for name, file in part.items()}

    def publish() -> None:
        if rank != 0:
            return
        if sorted(files) != names:
            raise UserError(f"files of {staged} were not read back: a defect", INTERNAL)
        check_allowed()
        commit.model_copy(update={"files": files}).write(staged / COMMIT_FILE)
        # An incomplete checkpoint of the same step may exist, which was not resumed from.
        remove_checkpoint(final)
        staged.replace(final)
        fsync_path(final.parent)

    run_on_all_ranks(publish)


def sync_tree(folder: Path) -> list[str]:
    """Sync all files and folders that this rank sees; return the names of the files."""
    found = sorted(folder.rglob("*"))
    for path in (*found, folder):
        fsync_path(path)
    return [str(path.relative_to(folder)) for path in found if path.is_file()]


def files_to_read_back(names: list[str], rank: int, world: int) -> list[str]:
    """Return the files that a rank reads back: with several ranks, those of another rank."""
    return [name for number, name in enumerate(names) if number % world == (rank + 1) % world]


def compute_digests(folder: Path, names: Iterable[str]) -> Files:
    """Return size and BLAKE2b digest (128 bits) of some files, read block by block."""
    found = {}
    for name in names:
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            found[name] = SavedFile(bytes=file.tell(), digest=digest)
    return found


def read_commit(checkpoint: Path) -> CheckpointCommit | None:
    """Read COMMIT.json; None if it is absent or unreadable."""
    return CheckpointCommit.read_if_valid(checkpoint / COMMIT_FILE)


def find_fault(checkpoint: Path, rank: int = 0, world: int = 1) -> str | None:
    """Return why a checkpoint cannot be used, as far as this rank checks; None if it can.

    Rank 0 checks all sizes; each rank reads its share of the files. Raises OSError if a file
    exists and cannot be read: that checkpoint is not torn.
    """
    commit = read_commit(checkpoint)
    if commit is None:
        return f"it was never finished (no {COMMIT_FILE})"
    files = commit.files
    for name, saved in files.items() if rank == 0 else ():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != saved.bytes:
            return f"{name} has {path.stat().st_size} bytes, not {saved.bytes}"
    for name in files_to_read_back(sorted(files), rank, world):
        with contextlib.suppress(FileNotFoundError):  # rank 0 reports that
            if compute_digests(checkpoint, [name])[name] != files[name]:
                return f"{name} is not what was saved (its digest differs)"
    return None


def verify_checkpoint(checkpoint: Path) -> str | None:
    """Return why a checkpoint cannot be used, or None. Collective: the ranks share the reading."""
    rank, world = rank_and_world()
    return next(
        (fault for fault in run_on_all_ranks(lambda: find_fault(checkpoint, rank, world)) if fault),
        None,
    )


def find_newest_verified(state_dir: Path) -> tuple[Path | None, list[str]]:
    """Return the newest complete checkpoint, and a line for each newer one that is torn.

    Collective. All ranks use the list of rank 0: another node may see the folder later.
    """
    torn: list[str] = []
    for name in run_on_all_ranks(lambda: [path.name for path in list_checkpoints(state_dir)])[0]:
        fault = verify_checkpoint(state_dir / name)
        if fault is None:
            return state_dir / name, torn
        torn.append(f"{name} is skipped: {fault}")
    return None, torn


def remove_leftovers(state_dir: Path, start: Path | None) -> None:
    """Delete unfinished checkpoints, and those newer than the one to resume from.

    The newer ones were found torn; the training reaches their steps again.
    """
    shutil.rmtree(state_dir / STAGING, ignore_errors=True)
    first = step_of(start) if start else -1
    for kind in KINDS:
        for checkpoint in list_checkpoints(state_dir, kind):
            if step_of(checkpoint) > first:
                remove_checkpoint(checkpoint)


def prune_checkpoints(state_dir: Path, keep: int) -> None:
    """Delete all but the newest checkpoints, after the newest was committed."""
    committed = [path for path in list_checkpoints(state_dir) if (path / COMMIT_FILE).exists()]
    for checkpoint in committed[keep:]:
        remove_checkpoint(checkpoint)
    # A converted checkpoint is only used at the start of this attempt.
    for checkpoint in list_checkpoints(state_dir, "universal"):
        remove_checkpoint(checkpoint)


def remove_all_checkpoints(state_dir: Path) -> None:
    """Delete every checkpoint and the ranks' progress files, once their unit is committed."""
    remove_leftovers(state_dir, None)
    shutil.rmtree(state_dir / SNAPSHOTS, ignore_errors=True)
    shutil.rmtree(state_dir / RANKS, ignore_errors=True)


def remove_checkpoint(checkpoint: Path) -> None:
    """Delete a checkpoint if it exists; COMMIT.json first, so that a part never looks complete."""
    (checkpoint / COMMIT_FILE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)
