"""Whether a file that is to be run could have been written by another user."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hala_hpc.core.errors import CONFIG, UserError

ROOT_ID = 0


def require_own(path: Path, what: str) -> None:
    """Raise UserError unless this user and root alone can change what stands at a path.

    The file counts, each folder on the way up to the root, and those that links lead through. In
    a folder with the sticky bit, as /tmp, others can change nothing that is ours.
    """
    for step in dict.fromkeys(steps_to(path.absolute())):
        status = step.lstat()
        if status.st_uid not in (ROOT_ID, os.geteuid()):
            raise UserError(
                f"{what} is not run: {step} belongs to another user (number {status.st_uid}), who "
                "could change the code; copy it into a folder of your own",
                CONFIG,
            )
        if is_open(status):
            raise UserError(
                f"{what} is not run: other users can write {step}, and so could change the code; "
                f"run `chmod go-w {step}`, or copy it into a folder of your own",
                CONFIG,
            )


def steps_to(path: Path) -> Iterator[Path]:
    """A path, each folder on the way to it, and the same of what its links stand for."""
    for step in (path, *path.parents):
        yield step
        if step.is_symlink():
            yield from steps_to(step.parent / step.readlink())


def is_open(status: os.stat_result) -> bool:
    """Whether users other than the owner may write here. A link has no rights of its own."""
    if stat.S_ISLNK(status.st_mode):
        return False
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return False
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
