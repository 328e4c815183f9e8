"""The code of a launch kept for its jobs: `snapshot = true` copies it into the work folder.

Without that a queued job imports the clone or wheel of the launch, as it is when the job starts.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from hala_hpc.core.code_version import (
    SHORT_DIGITS,
    LaunchedCode,
    code_version,
    compute_code_digest,
    list_package_code,
    walk_code_files,
)
from hala_hpc.core.errors import CONFIG, RETRY, UserError
from hala_hpc.core.files import claim_folder
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.own_files import require_own_file
from hala_hpc.core.paths import PACKAGE

#: Beside the folders of the nodes.
FOLDER = "code"


def resolve_launch_code(launcher: Launcher, work: Path) -> LaunchedCode:
    """The code of this launch, and the folder that its jobs import; nothing is written."""
    code = code_version()
    name = code.commit
    if code.uncommitted is not False:
        # A commit alone does not name such files.
        name = f"{name}-{code.code_digest[:SHORT_DIGITS]}"
    folder = str((work / FOLDER / name).absolute()) if launcher.snapshot else ""
    return LaunchedCode(**code.model_dump(), code_folder=folder)


def snapshot_code(code: LaunchedCode) -> None:
    """Copy the code into its folder, whole or not at all, where it is not there yet.

    Raises: UserError where another user could change what is there (CONFIG), where it is other
    code (CONFIG), and where the clone was changed while it was copied (RETRY).
    """
    if not code.code_folder:
        return
    folder = Path(code.code_folder)
    if not folder.is_dir():
        copy_code(folder, code.code_digest)
    require_snapshot(folder, code.code_digest)


def copy_code(folder: Path, digest: str) -> None:
    """Copy the files of this code; the copy takes its name when it has the digest."""
    temporary = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.tmp")
    try:
        for name, path in list_package_code().items():
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        if compute_code_digest(files_in_copy(temporary)) != digest:
            raise UserError(
                f"the code changed while it was copied to {folder}: give the line again", RETRY
            )
        claim_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def files_in_copy(folder: Path) -> dict[str, Path]:
    """The files of a copy by their names, as `code_files` has those of the running code."""
    found = {
        f"{PACKAGE.name}/{name}": path for name, path in walk_code_files(folder / PACKAGE.name)
    }
    scripts = sorted((folder / "slurm").glob("*.sbatch"))
    return found | {f"slurm/{path.name}": path for path in scripts}


def require_snapshot(folder: Path, digest: str) -> None:
    """Raise UserError (CONFIG) unless a copy is this code and its user's or root's alone."""
    files = files_in_copy(folder)
    for path in [folder.parent, *add_parent_folders(folder, files.values())]:
        require_own_file(path, path.lstat())
    if compute_code_digest(files) != digest:
        raise UserError(
            f"{folder} is not the code that it is named after any more: once no job is at work, "
            "remove it and give the line again, which copies it anew",
            CONFIG,
        )


def add_parent_folders(top: Path, files: Iterable[Path]) -> list[Path]:
    """Some files and all folders on the way down to them from `top`."""
    found = {top: None}
    for file in files:
        found |= dict.fromkeys(one for one in (file, *file.parents) if top in one.parents)
    return list(found)
