"""Whether a file that is run, or decides what is run, could have been written by another user."""

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from hala_hpc.core.errors import CONFIG, UserError

ROOT_ID = 0
#: Paths that an error names before the rest is only counted.
MAX_LISTED = 5


def require_own_paths(paths: Iterable[Path], what: str) -> None:
    """Raise UserError unless this user and root alone can change what stands at some paths.

    The files count, each folder on the way up to the root, and those that links lead through. In
    a folder with the sticky bit, as /tmp, others can change nothing that is ours.
    """
    steps = dict.fromkeys(step for path in paths for step in steps_to(path.absolute()))
    found = {step: step.lstat() for step in steps}
    for step, status in found.items():
        if status.st_uid not in (ROOT_ID, os.geteuid()):
            raise UserError(
                f"{what} is not run: {step} belongs to another user (number {status.st_uid}), who "
                "could change the code; copy it into a folder of your own",
                CONFIG,
            )
    if writable := [str(step) for step, status in found.items() if is_writable_by_others(status)]:
        more = f" (and {len(writable) - MAX_LISTED} more)" if len(writable) > MAX_LISTED else ""
        raise UserError(
            f"{what} is not run: other users could change the code; run "
            f"`chmod go-w {shlex.join(writable[:MAX_LISTED])}`{more}, or copy it into a folder of your "
            "own",
            CONFIG,
        )


def require_own_file(path: Path, status: os.stat_result) -> None:
    """Raise UserError unless an open file of a work folder is of this user or root alone.

    The folders on the way to it do not count: who puts a file of his own there is seen by its
    owner, and those of old work folders may be open to a group.
    """
    if status.st_uid not in (ROOT_ID, os.geteuid()):
        raise UserError(
            f"{path} decides what is run and belongs to another user (number {status.st_uid}): "
            "nothing of it is run; work in a folder of your own",
            CONFIG,
        )
    if is_writable_by_others(status):
        raise UserError(
            f"{path} decides what is run and other users may write it: look into it, then run "
            f"`chmod go-w {shlex.quote(str(path))}`",
            CONFIG,
        )


def steps_to(path: Path) -> Iterator[Path]:
    """A path, each folder on the way to it, and the same of what its links stand for."""
    for step in (path, *path.parents):
        yield step
        if step.is_symlink():
            yield from steps_to(step.parent / step.readlink())


def is_writable_by_others(status: os.stat_result) -> bool:
    """Whether users other than the owner may write here. A link has no rights of its own."""
    if stat.S_ISLNK(status.st_mode):
        return False
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return False
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
