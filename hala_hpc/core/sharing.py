"""A work folder of one user, or of a group whose members trust each other.

A process shares if the launcher of its user says so: `share = "group"`. Its jobs inherit that by a
variable. Without it all files are private, and files of other users decide nothing.
"""

import grp
import os
import pwd
import shlex
import stat
from pathlib import Path

from hala_hpc.core.errors import CANNOT_CREATE, UserError

#: Names the kind of sharing to a job.
SHARE_VARIABLE = "HALA_SHARE"
OWNER, GROUP, GROUP_AND_READERS = "owner", "group", "group-and-readers"
#: Permissions removed from all files that a command or a job makes. Whoever can write what jobs
#: are run by runs programs as their owner.
UMASKS = {OWNER: 0o077, GROUP: 0o007, GROUP_AND_READERS: 0o002}
#: What the group of a shared folder may do in it; new files and folders get that group.
SHARED_BITS = stat.S_ISGID | stat.S_IRWXG


def current_share() -> str:
    """How this process shares its files."""
    found = os.environ.get(SHARE_VARIABLE, OWNER)
    return found if found in UMASKS else OWNER


def is_sharing() -> bool:
    """Whether this process takes files of the members of its groups for its own."""
    return current_share() != OWNER


def start_sharing(share: str) -> None:
    """Share the files of this process and of its children, or stop that."""
    os.environ[SHARE_VARIABLE] = share
    os.umask(UMASKS[share])


def folder_bits() -> int:
    """Mode of a folder that this process makes private or shared."""
    group = stat.S_ISGID if is_sharing() else 0
    return group | (0o777 & ~UMASKS[current_share()])


def is_of_member(status: os.stat_result) -> bool:
    """Whether only members of a group of this user could have written a file, while sharing."""
    groups = {os.getegid(), *os.getgroups()}
    return is_sharing() and status.st_gid in groups and not status.st_mode & stat.S_IWOTH


def is_shared_folder(work: Path) -> bool:
    """Whether a folder is one of a group of this user, by its mode and group."""
    try:
        status = work.stat()
    except OSError:
        return False
    is_open = status.st_mode & SHARED_BITS == SHARED_BITS
    return is_open and (status.st_gid in {os.getegid(), *os.getgroups()} or not os.geteuid())


def holds_shared_run(work: Path) -> bool:
    """Whether a launch that shares has worked in a folder."""
    try:
        is_open = bool((work / "run.json").stat().st_mode & stat.S_IWGRP)
    except OSError:
        return False
    return is_open and is_shared_folder(work)


def follow_sharing(work: Path) -> None:
    """Let a command that submits nothing share its files if the run of a folder is shared."""
    if not holds_shared_run(work):
        return
    is_readable = bool(work.stat().st_mode & stat.S_IROTH)
    start_sharing(GROUP_AND_READERS if is_readable else GROUP)


def require_share(work: Path) -> None:
    """Check that an existing work folder is shared exactly if this process shares.

    Raises: UserError (CANNOT_CREATE) with the commands that open it, or the setting.
    """
    name = shlex.quote(str(work))
    if not is_sharing():
        if holds_shared_run(work):
            raise UserError(
                f"work={work} is shared by the group {group_name(work.stat().st_gid)}, and this "
                'launcher keeps files private: set share = "group" in it, or name another folder',
                CANNOT_CREATE,
            )
        return
    if not is_shared_folder(work):
        raise UserError(
            f'share = "{current_share()}": work={work} is not open to a group of yours; its owner '
            f"({user_name(work.stat().st_uid)}) runs `chmod -R g+rwX {name} && find {name} -type d "
            "-exec chmod g+s {} +`, and `chgrp -R` before it if the group is another",
            CANNOT_CREATE,
        )
    gid = work.stat().st_gid
    if is_private_group(gid):
        raise UserError(
            f'share = "{current_share()}": the group of work={work} is {group_name(gid)}, which '
            f"has one member: run `chgrp -R GROUP {name} && chmod g+s {name}`",
            CANNOT_CREATE,
        )


def is_private_group(gid: int) -> bool:
    """Whether a group is the one of a single user, by the usual convention: both have one name."""
    try:
        group = grp.getgrgid(gid)
        return pwd.getpwnam(group.gr_name).pw_gid == gid and not group.gr_mem and bool(gid)
    except KeyError:
        return False


def group_name(gid: int) -> str:
    """Name of a group; the number where it is not known here."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def user_name(uid: int) -> str:
    """Login name of a user; the number where it is not known here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
