"""Read files of a work folder, detect damaged ones, and set them aside.

A damaged file counts as absent if absence is safe. A file that cannot be read never does, as it may
be intact.
"""

import errno
import os
import re
import shlex
import stat
from pathlib import Path
from uuid import uuid4

from hala_hpc.core.errors import BAD_DATA, CANNOT_CREATE, NO_INPUT, RETRY, USAGE, UserError
from hala_hpc.core.own_files import require_own_file
from hala_hpc.core.printable import escape_controls

#: Between the name of a file that was set aside and eight random letters.
DAMAGED_SUFFIX = ".damaged-"
#: Characters of a path that an error of the operating system shows.
MAX_PATH_CHARACTERS = 200
#: Exit code and fix for each error of a file system.
FIXES = {
    errno.ENOSPC: (
        CANNOT_CREATE,
        "free space on this disk, then run the same command again to resume",
    ),
    errno.EDQUOT: (
        CANNOT_CREATE,
        "your quota is used up: free space, then run the same command again to resume",
    ),
    errno.EROFS: (CANNOT_CREATE, "nothing can be written here: name another folder with work=..."),
    errno.EACCES: (NO_INPUT, "you have no permission to read or write it: name another"),
    errno.EPERM: (NO_INPUT, "it is not yours: name another"),
    errno.ENAMETOOLONG: (USAGE, "name it by a shorter path"),
    errno.ELOOP: (NO_INPUT, "it is a link to itself: remove it"),
    errno.EIO: (RETRY, "the disk has an error: try again, or report it to its administrators"),
    errno.ESTALE: (RETRY, "the file server has lost the open file: try again"),
}
#: For a folder whose entries are all written by this package.
FOLDER_FIX = "move it away and run the launch command again"


class Damaged(UserError):
    """A file of a work folder is torn or foreign, or something else is in its place."""

    def __init__(self, path: object, fault: str, fix: str) -> None:
        super().__init__(f"{path}{fault}; {fix}", BAD_DATA)
        self.fault = fault.lstrip(": ")
        """What is wrong, without path and fix."""


def read_content(path: Path, fix: str, must_be_own: bool = False) -> bytes | None:
    """Read the bytes of a file; None if there is none. `fix` ends the error for a damaged one.

    Raises: Damaged for a folder, a pipe or a broken link in its place. UserError if it cannot be
    read, or with `must_be_own` if another user could have written it.
    """
    try:
        # Without O_NONBLOCK, opening a pipe in the place of a file would block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if path.is_symlink():
            raise Damaged(path, " is a broken link", fix) from None
        return None
    except OSError as error:
        raise convert_read_error(path, error, fix) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "something else"
            raise Damaged(path, f" is {kind}, not a file", fix)
        if must_be_own:
            require_own_file(path, status)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise convert_read_error(path, error, fix) from None
    finally:
        os.close(descriptor)


def list_entries(folder: Path) -> list[str]:
    """Names in a folder, unsorted; empty if it does not exist.

    Raises: Damaged for a file or a broken link in its place; UserError if it cannot be read.
    """
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        if folder.is_symlink():
            raise Damaged(folder, " is a broken link", FOLDER_FIX) from None
        return []
    except OSError as error:
        raise convert_read_error(folder, error, FOLDER_FIX) from None


def list_numbered_files(folder: Path, digits: int) -> list[int]:
    """The numbers of the files `00007.json` of a folder, in order; raises as `list_entries`.

    Similar names are ignored: `0x.json`, `7.json`, `00007.json.bak`.
    """
    form = re.compile(rf"\d{{{digits},}}\.json", re.ASCII)
    stems = (name[:-5] for name in list_entries(folder) if form.fullmatch(name))
    return sorted(int(stem) for stem in stems if stem == f"{int(stem):0{digits}d}")


def convert_read_error(path: Path, error: OSError, fix: str) -> UserError:
    """Convert a read error: Damaged if something else is in its place, else UserError."""
    if isinstance(error, NotADirectoryError):
        existing = next(one for one in (path, *path.parents) if os.path.lexists(one))
        return Damaged(existing, " is a file, not a folder", FOLDER_FIX)
    if isinstance(error, FileNotFoundError):
        return Damaged(path, " existed and is gone", fix)
    if error.errno == errno.ELOOP:
        return Damaged(path, " is a link to itself", fix)
    return convert_os_error(OSError(error.errno, error.strerror, str(path)))


def describe_permission_fix(path: Path) -> str:
    """The fix if this process may not read or write a path."""
    steps = (path, *path.parents)
    existing = next(one for one in steps if os.path.lexists(one))
    inaccessible = next((one for one in steps if is_inaccessible(one)), existing)
    owner = find_owner(inaccessible)
    if owner not in (None, os.geteuid()):
        return f"{inaccessible} belongs to another user (uid {owner}): name another"
    right = "u+rwx" if inaccessible.is_dir() else "u+rw"
    return f"run `chmod {right} {shlex.quote(escape_controls(inaccessible))}`"


def convert_os_error(error: OSError) -> UserError:
    """Convert an error of the file system into a UserError with a fix.

    For errors that no caller can explain better: permissions, full disks, names that are too long.
    """
    # Of two paths the second is the one to be written; the first may be the text of a link.
    path = error.filename if error.filename2 is None else error.filename2
    name = escape_controls(path if path is not None else "a file")
    short_name = name if len(name) <= MAX_PATH_CHARACTERS else f"{name[:MAX_PATH_CHARACTERS]}..."
    code, fix = FIXES.get(error.errno or 0, (NO_INPUT, "fix it and run the same command again"))
    if error.errno in (errno.EACCES, errno.EPERM) and isinstance(path, str):
        fix = describe_permission_fix(Path(path).absolute())
    return UserError(f"{short_name}: {error.strerror or error}; {fix}", code)


def is_inaccessible(path: Path) -> bool:
    """Whether a path exists and this process may not read it or, for a folder, enter it."""
    try:
        wanted = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
        return os.path.lexists(path) and not os.access(path, wanted, effective_ids=True)
    except OSError:
        return False


def find_owner(path: Path) -> int | None:
    """Number (uid) of the user that owns a path; None if unknown."""
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def set_aside(path: Path) -> Path | None:
    """Rename a damaged file to a name that nothing reads; None if it is gone."""
    aside = path.with_name(f"{path.name}{DAMAGED_SUFFIX}{uuid4().hex[:8]}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return None
    return aside
