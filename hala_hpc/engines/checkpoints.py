"""Checkpoints that are whole or not used: COMMIT.json is written last, after all ranks saved."""

import shutil
from pathlib import Path

from hala_hpc.core.errors import UserError
from hala_hpc.core.files import read_json, sync, write_json

COMMIT_FILE = "COMMIT.json"
#: Older ones go when a new one is committed; one is kept in reserve against a bad disk.
KEPT = 2


def checkpoints(folder: Path) -> list[Path]:
    """Folders `checkpoint-<step>`, the newest step first."""
    found = [p for p in folder.glob("checkpoint-*") if p.name.partition("-")[2].isdigit()]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """The step at which a checkpoint was saved."""
    return int(checkpoint.name.partition("-")[2])


def commit_checkpoint(checkpoint: Path, world_size: int) -> None:
    """Bring every file to the disk, then say that the checkpoint is whole. For rank 0, after all.

    Sizes are noted, so that a checkpoint that loses a file later is noticed.
    """
    files = sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != COMMIT_FILE)
    for path in files:
        sync(path)
    sizes = {str(path.relative_to(checkpoint)): path.stat().st_size for path in files}
    write_json(
        checkpoint / COMMIT_FILE,
        {"step": step_of(checkpoint), "world_size": world_size, "files": sizes},
    )


def flaw(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be used, or None."""
    commit = read_json(checkpoint / COMMIT_FILE)
    if commit is None:
        return "it was never finished (no COMMIT.json)"
    for name, size in commit["files"].items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
    return None


def newest_whole(folder: Path, world_size: int) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from, and a line for each newer one that is torn.

    Raises UserError when it was saved by another number of ranks: DeepSpeed cuts its state in as
    many pieces as there are ranks.
    """
    torn: list[str] = []
    for checkpoint in checkpoints(folder):
        fault = flaw(checkpoint)
        if fault is None:
            saved = read_json(checkpoint / COMMIT_FILE)["world_size"]
            if saved != world_size:
                raise UserError(
                    f"{checkpoint} was saved by {saved} ranks, this job has {world_size}: set "
                    f"resources back to {saved} ranks, or delete {folder} to train from the start"
                )
            return checkpoint, torn
        torn.append(f"{checkpoint.name} is skipped: {fault}")
    return None, torn


def remove_torn(folder: Path) -> None:
    """Delete checkpoints that cannot be used, so that no old file mixes with a new one."""
    for checkpoint in checkpoints(folder):
        if flaw(checkpoint) is not None:
            shutil.rmtree(checkpoint)


def prune(folder: Path) -> None:
    """Delete all but the newest whole checkpoints."""
    whole = [checkpoint for checkpoint in checkpoints(folder) if flaw(checkpoint) is None]
    for checkpoint in whole[KEPT:]:
        # Unmarked first: a deletion cut short must not look whole.
        (checkpoint / COMMIT_FILE).unlink()
        shutil.rmtree(checkpoint)
