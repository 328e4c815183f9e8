"""Quotas of bytes and files of this user and of a folder's group or project.

Lustre, GPFS, BeeGFS and quotas of the kernel, which NFS reports as well, each by its own command.
Only columns and machine-readable output are read, never a message. A file system without such a
command, or one that does not answer, has no known quota.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: Time limit in seconds of a command: a server that is down answers late or never.
QUOTA_LIMIT_S = 10
#: Share of a quota below which what is left is reported.
TIGHT_SHARE = 0.05
#: Columns of used, soft, hard, grace of bytes, and the first three of files.
COLUMNS = 7
#: How the kernel writes blanks and backslashes of a mount point, as octal numbers.
ESCAPED = re.compile(r"\\([0-7]{3})")
#: Bytes of a block in the outputs that count blocks.
BLOCK = 1024


@dataclass(frozen=True)
class Quota:
    """Limits of one user, group or project on a file system, and what is used."""

    scope: str
    """user, group or project, with its name if known."""
    used_bytes: int
    max_bytes: int | None
    """None without a limit."""
    used_files: int
    max_files: int | None

    @property
    def bytes_left(self) -> int | None:
        """Bytes until the limit; None without one."""
        return None if self.max_bytes is None else max(0, self.max_bytes - self.used_bytes)

    @property
    def files_left(self) -> int | None:
        """Files until the limit; None without one."""
        return None if self.max_files is None else max(0, self.max_files - self.used_files)


def find_quotas(folder: Path) -> list[Quota]:
    """Quotas that hold for new files in an existing folder; empty if none is known.

    Raises nothing: a gate that has done its work must not fail for a warning.
    """
    try:
        device, point, kind = find_mount(folder)
        gid = folder.stat().st_gid
    except OSError:
        return []
    reader = READERS.get(kind, read_kernel_quotas)
    return list(reader(Mount(device, point, folder, gid)))


def describe_tight_quotas(folder: Path) -> list[str]:
    """A line for each quota of a folder of which less than a twentieth is left."""
    found = []
    for quota in find_quotas(folder):
        size, files = quota.bytes_left, quota.files_left
        if size is not None and size < (quota.max_bytes or 0) * TIGHT_SHARE:
            found.append(
                f"the quota of {quota.scope} in {folder} has {size / 1e9:.3f} GB left of "
                f"{(quota.max_bytes or 0) / 1e9:.3f} GB"
            )
        if files is not None and files < (quota.max_files or 0) * TIGHT_SHARE:
            found.append(
                f"the quota of {quota.scope} in {folder} has {files} files left of "
                f"{quota.max_files}"
            )
    return found


@dataclass(frozen=True)
class Mount:
    """A mounted file system, and the folder that is asked about."""

    device: str
    point: Path
    folder: Path
    gid: int
    """Group of the folder, that of new files if it has the setgid bit."""


def find_mount(folder: Path) -> tuple[str, Path, str]:
    """Device, mount point and type of the file system of a folder."""
    found = {}
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            device, point, kind, *_ = line.split()
            path = Path(read_mount_point(point))
            found[path] = (device, path, kind)
    real = folder.resolve()
    return next(
        (found[one] for one in (real, *real.parents) if one in found), ("", Path("/"), "unknown")
    )


def read_mount_point(text: str) -> str:
    """A mount point as it is, from a line of the kernel, where letters beyond ASCII are plain."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def read_lustre_quotas(mount: Mount) -> Iterator[Quota]:
    """`lfs quota -q` of user, group and project: path, blocks of 1 KiB, soft, hard, grace, files,
    soft, hard, grace."""
    asked = [("user", "-u", str(os.geteuid())), ("group", "-g", str(mount.gid))]
    if project := find_lustre_project(mount.folder):
        asked.append(("project", "-p", project))
    for scope, flag, number in asked:
        # A long path has a line of its own.
        text = " ".join(run_quota("lfs", "quota", "-q", flag, number, str(mount.point)))
        numbers = read_numbers(text.strip().removeprefix(str(mount.point)))
        if len(numbers) >= COLUMNS:
            yield make_quota(f"{scope} {number}", numbers[:3], numbers[4:7], BLOCK)


def find_lustre_project(folder: Path) -> str:
    """Number of the project of a folder; empty for none."""
    fields = next((line.split() for line in run_quota("lfs", "project", "-d", str(folder))), [])
    return fields[0] if fields and fields[0].isdigit() and fields[0] != "0" else ""


def read_gpfs_quotas(mount: Mount) -> Iterator[Quota]:
    """`mmlsquota -Y`: colons between the fields, whose names are in a line of their own."""
    for flag, number in (("-u", str(os.geteuid())), ("-g", str(mount.gid))):
        names: list[str] = []
        for line in run_quota("mmlsquota", flag, number, "-Y", mount.device.removeprefix("/dev/")):
            fields = line.split(":")
            if "HEADER" in fields:
                names = fields
                continue
            row = dict(zip(names, fields, strict=False))
            if not row.get("blockUsage", "").isdigit():
                continue
            scope = f"{row.get('quotaType', '').lower()} {row.get('name', number)}".strip()
            sizes = [int(row.get(name) or 0) for name in ("blockUsage", "blockQuota", "blockLimit")]
            files = [int(row.get(name) or 0) for name in ("filesUsage", "filesQuota", "filesLimit")]
            yield make_quota(scope, sizes, files, BLOCK)


def read_beegfs_quotas(mount: Mount) -> Iterator[Quota]:
    """`beegfs-ctl --getquota --csv`: name, id, bytes, limit, files, limit; `unlimited` for none."""
    for scope, flag, number in (
        ("user", "--uid", str(os.geteuid())),
        ("group", "--gid", str(mount.gid)),
    ):
        options = ("--getquota", "--csv", f"--mount={mount.point}", flag, number)
        for line in run_quota("beegfs-ctl", *options):
            fields = [field.strip() for field in line.split(",")]
            if len(fields) < 6 or fields[1] != number or not fields[2].isdigit():
                continue
            sizes, files = read_limit(fields[2:4]), read_limit(fields[4:6])
            yield make_quota(f"{scope} {fields[0]}", sizes, files, 1)


def read_limit(fields: list[str]) -> list[int]:
    """Used, soft and hard limit, from what is used and one limit."""
    used, limit = (int(field) if field.isdigit() else 0 for field in fields)
    return [used, limit, limit]


def read_kernel_quotas(mount: Mount) -> Iterator[Quota]:
    """`quota -w -p` of user and groups: device, blocks, soft, hard, time, files, soft, hard, time.

    With -p the times are numbers, so that the columns stay in place.
    """
    for scope, flag in (("user", "-u"), ("group", "-g")):
        for line in run_quota("quota", "-w", "-p", flag):
            device, _, rest = line.strip().partition(" ")
            numbers = read_numbers(rest)
            if device == mount.device and len(numbers) >= COLUMNS:
                yield make_quota(scope, numbers[:3], numbers[4:7], BLOCK)


def read_numbers(text: str) -> list[int]:
    """The whole numbers of a row; `*` behind one says that it is above its limit, `-` is none."""
    fields = (field.strip("*[]") for field in text.split())
    return [int(field) if field.isdigit() else 0 for field in fields]


def make_quota(scope: str, sizes: list[int], files: list[int], unit: int) -> Quota:
    """A quota from used, soft and hard limit; the soft one counts, as it ends in days of grace."""
    size_limit, file_limit = sizes[1] or sizes[2], files[1] or files[2]
    return Quota(
        scope,
        sizes[0] * unit,
        size_limit * unit if size_limit else None,
        files[0],
        file_limit or None,
    )


def run_quota(*command: str) -> list[str]:
    """Lines of a command; none if it is not there, fails, or does not answer in time."""
    if not shutil.which(command[0]):
        return []
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=QUOTA_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


#: By type of the file system; all others are asked as the kernel's, NFS included.
READERS: dict[str, Callable[[Mount], Iterator[Quota]]] = {
    "lustre": read_lustre_quotas,
    "gpfs": read_gpfs_quotas,
    "beegfs": read_beegfs_quotas,
}
