"""Code snapshot of a launch: `snapshot = true` copies the code into the work folder for its jobs.

Without it a queued job imports the clone or wheel of the launch as it is when the job starts.
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

#: Folder of the snapshots, beside those of the nodes.
FOLDER = "code"


def resolve_launch_code(launcher: Launcher, work: Path) -> LaunchedCode:
    """The code version of this launch and the folder that its jobs import; writes nothing."""
    code = code_version()
    name = code.commit
    if code.uncommitted is not False:
        # The commit alone does not identify uncommitted files.
        name = f"{name}-{code.code_digest[:SHORT_DIGITS]}"
    folder = str((work / FOLDER / name).absolute()) if launcher.snapshot else ""
    return LaunchedCode(**code.model_dump(), code_folder=folder)


def snapshot_code(code: LaunchedCode) -> None:
    """Copy the code into its folder, completely or not at all, unless the copy exists.

    Raises: UserError (CONFIG) if another user could change the copy, or if it holds other code;
    UserError (RETRY) if the clone changed during the copy.
    """
    if not code.code_folder:
        return
    folder = Path(code.code_folder)
    if not folder.is_dir():
        copy_code(folder, code.code_digest)
    require_snapshot(folder, code.code_digest)


def copy_code(folder: Path, digest: str) -> None:
    """Copy the files of this code; the copy gets its final name once its digest is right."""
    temporary = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.tmp")
    try:
        for name, path in list_package_code().items():
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        if compute_code_digest(files_in_copy(temporary)) != digest:
            raise UserError(
                f"the code changed while it was copied to {folder}; run the same command again",
                RETRY,
            )
        claim_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def files_in_copy(folder: Path) -> dict[str, Path]:
    """The files of a copy, by the same names as in `code_files`."""
    found = {
        f"{PACKAGE.name}/{name}": path for name, path in walk_code_files(folder / PACKAGE.name)
    }
    scripts = sorted((folder / "slurm").glob("*.sbatch"))
    return found | {f"slurm/{path.name}": path for path in scripts}


def require_snapshot(folder: Path, digest: str) -> None:
    """Check that a copy holds this code and that only its user or root can write it.

    Raises: UserError (CONFIG) if not.
    """
    files = files_in_copy(folder)
    for path in [folder.parent, *add_parent_folders(folder, files.values())]:
        require_own_file(path, path.lstat())
    if compute_code_digest(files) != digest:
        raise UserError(
            f"{folder} no longer holds the code that it is named after; once no job is running, "
            "remove it and run the same command again, which copies the code again",
            CONFIG,
        )


def add_parent_folders(top: Path, files: Iterable[Path]) -> list[Path]:
    """Some files and all folders between `top` and them, including `top`."""
    found = {top: None}
    for file in files:
        found |= dict.fromkeys(one for one in (file, *file.parents) if top in one.parents)
    return list(found)
