"""Check that no other user could have written a file that is run or decides what is run."""

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.sharing import is_of_member

ROOT_ID = 0
#: Paths that an error names; the rest is only counted.
MAX_LISTED = 5


def require_own_paths(paths: Iterable[Path], what: str) -> None:
    """Raise UserError (CONFIG) unless only this user and root can change the files at some paths.

    Checked are the files, each folder above them, and the targets of links on the way. In a folder
    with the sticky bit, e.g. /tmp, others cannot change our files.
    """
    steps = dict.fromkeys(step for path in paths for step in steps_to(path.absolute()))
    found = {step: step.lstat() for step in steps}
    for step, status in found.items():
        if status.st_uid not in (ROOT_ID, os.geteuid()):
            raise UserError(
                f"{what} is not run: {step} belongs to another user (uid {status.st_uid}), who "
                "could change the code; copy it into a folder of your own",
                CONFIG,
            )
    if writable := [str(step) for step, status in found.items() if is_writable_by_others(status)]:
        more = f" (and {len(writable) - MAX_LISTED} more)" if len(writable) > MAX_LISTED else ""
        raise UserError(
            f"{what} is not run: other users could change the code; run "
            f"`chmod go-w {shlex.join(writable[:MAX_LISTED])}`{more}, or copy it into a folder of "
            "your own",
            CONFIG,
        )


def require_own_file(path: Path, status: os.stat_result) -> None:
    """Raise UserError (CONFIG) if another user owns, or may write, an open file of a work folder.

    While this process shares, members of the group of the file count as this user. The folders
    above it are not checked. A file that another user puts there is recognized by its
    owner, and old work folders may be open to a group.
    """
    if is_of_member(status):
        return
    if status.st_uid not in (ROOT_ID, os.geteuid()):
        raise UserError(
            f"{path} decides what is run and belongs to another user (uid {status.st_uid}): "
            "nothing of it is run; work in a folder of your own",
            CONFIG,
        )
    if is_writable_by_others(status):
        raise UserError(
            f"{path} decides what is run and other users may write it: check its content, then run "
            f"`chmod go-w {shlex.quote(str(path))}`",
            CONFIG,
        )


def steps_to(path: Path) -> Iterator[Path]:
    """Yield a path, each folder above it, and the same for the targets of its links."""
    for step in (path, *path.parents):
        yield step
        if step.is_symlink():
            yield from steps_to(step.parent / step.readlink())


def is_writable_by_others(status: os.stat_result) -> bool:
    """Whether users other than the owner may write here. A link has no permissions of its own."""
    if stat.S_ISLNK(status.st_mode):
        return False
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return False
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
