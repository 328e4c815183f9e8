"""What the file systems of a run do, and how much room they have for it.

Write, fsync, link, rename and read back are tried with one small file that is gone afterwards; then
come modes, clocks, and what is free and what a quota leaves, against an estimate.
"""

import contextlib
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from hala_hpc.commands.planning.plan_estimate import DiskEstimate
from hala_hpc.core.files import fsync_path
from hala_hpc.doctor.findings import Finding, State

#: File systems that other machines do not see.
OF_ONE_MACHINE = (
    *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs"),
    *("tmpfs", "ramfs", "overlay"),
)
#: Variables that name a file and not a folder, or a folder that is read only.
READ_ONLY = ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "MODULEPATH", "CUDA_HOME")
CONTENT = "the doctor was here\n"
#: A slower fsync makes workers wait: they commit rows every 30 s.
SLOW_S = 2.0
#: Differences of clocks: what a listing of files shows wrongly; what munge refuses (300 s).
SKEW_WARN_S, SKEW_BAD_S = 5.0, 120.0
QUOTA_LIMIT_S = 10
GB = 10**9


def folder_findings(
    name: str, folder: Path, needs_writing: bool = True, on_one: bool = False
) -> list[Finding]:
    """Findings about one folder, which `word` names; its nearest parent where it is yet to be.

    `on_one`: jobs run on this machine, so that others need not see the folder.
    """
    there = nearest_existing(folder)
    if not there.is_dir():
        what = f"{name}: {there} is a file"
        return [Finding("folders", "bad", what, "a folder is needed", f"name another with {name}")]
    place = f"{name} {folder}" + ("" if there == folder else f" (will be made under {there})")
    found = [probe_folder(place, name, there, needs_writing), *modes(name, there)]
    return found if on_one else [*found, check_shared_mount(place, there)]


def nearest_existing(folder: Path) -> Path:
    """The folder, or the closest one above it that exists."""
    return next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))


def launcher_folders(environment: Mapping[str, str]) -> dict[str, Path]:
    """Folders that a launcher's variables name, by variable."""
    return {
        name: Path(value).expanduser()
        for name, value in environment.items()
        if value.startswith(("/", "~/")) and ":" not in value and not Path(value).is_file()
    }


def probe_folder(place: str, name: str, folder: Path, needs_writing: bool) -> Finding:
    """Do to one small file what a worker does to its results."""
    path = folder / f".doctor-{uuid4().hex[:12]}.tmp"
    second, third = path.with_suffix(".link"), path.with_suffix(".name")
    step, began = "written", time.monotonic()
    try:
        path.write_text(CONTENT)
        step = "synced (fsync)"
        fsync_path(path)
        fsync_path(folder)
        took_s, ahead_s = time.monotonic() - began, path.stat().st_mtime - time.time()
        step = "linked (link)"
        second.hardlink_to(path)
        step = "renamed"
        second.replace(third)
        step = "read back"
        if third.read_text() != CONTENT:
            raise OSError(0, "other bytes came back")
    except OSError as error:
        return refused(place, name, f"a file cannot be {step}: {error.strerror}", needs_writing)
    finally:
        for one in (path, second, third):
            with contextlib.suppress(OSError):
                one.unlink(missing_ok=True)
    return timed(place, took_s, ahead_s)


def refused(place: str, name: str, problem: str, needs_writing: bool) -> Finding:
    """A folder in which nothing can be written as results are."""
    if not needs_writing:
        why = "what it holds can be read; what libraries keep beside it cannot be written"
        return Finding("folders", "warn", f"{place}: {problem}", why, f"name another with {name}")
    why = "results are written aside, synced, linked and renamed: one of it does not work here"
    return Finding("folders", "bad", f"{place}: {problem}", why, f"name another with {name}")


def timed(place: str, took_s: float, ahead_s: float) -> Finding:
    """A folder that works: how fast, and whether its clock is this machine's."""
    skew = abs(ahead_s)
    if skew > SKEW_WARN_S:
        return Finding(
            "folders",
            "bad" if skew > SKEW_BAD_S else "warn",
            f"{place}: its clock is {skew:.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this "
            "machine's",
            "times in `status` are wrong by that, and SLURM refuses messages that look 5 minutes "
            "old or are of the future",
            "ask the admins to synchronise the clocks (`timedatectl` on both machines)",
        )
    if took_s > SLOW_S:
        what = f"{place}: a small file takes {took_s:.1f} s to reach the disk"
        why = "every worker waits that long each time it commits rows"
        return Finding("folders", "warn", what, why, "name a faster file system, e.g. scratch")
    what = f"{place}: write, fsync, link, rename and read back work, in {took_s * 1000:.0f} ms"
    why = f"what is written lasts; clocks agree to {max(skew, 0.1):.1f} s"
    return Finding("folders", "good", what, why)


def modes(name: str, folder: Path) -> list[Finding]:
    """Who else can put files in a folder, or another folder in its place."""
    found = []
    for one in (folder, *folder.parents):
        status = one.stat()
        open_to = [
            name
            for name, bit in (("its group", stat.S_IWGRP), ("everybody", stat.S_IWOTH))
            if status.st_mode & bit
        ]
        if not open_to or status.st_mode & stat.S_ISVTX:
            continue
        mode = stat.S_IMODE(status.st_mode)
        # Groups share scratch folders on purpose: those who may are named to each other.
        state: State = "bad" if "everybody" in open_to else "warn"
        what = f"{name}: {one} may be changed by {' and '.join(open_to)} (mode {mode:o})"
        why = "who can replace a file here runs programs as you: jobs are read from such folders"
        found.append(Finding("folders", state, what, why, f"chmod go-w {one}, or chmod +t {one}"))
    return found


def check_shared_mount(place: str, folder: Path) -> Finding:
    """Whether other machines see a file system, told from its kind."""
    kind = file_system(folder)
    if kind not in OF_ONE_MACHINE:
        return Finding("folders", "good", f"{place}: file system {kind}", "it is a shared one")
    what = f"{place}: file system {kind}, which mostly belongs to one machine"
    why = "jobs on other nodes must see the same files"
    fix = "none is needed where the nodes do see it (job=true tries it); else name a shared folder"
    return Finding("folders", "warn", what, why, fix)


def file_system(folder: Path) -> str:
    """Kind of the file system of a folder, e.g. ext4, nfs4, lustre."""
    return mount_of(folder)[1]


def mount_of(folder: Path) -> tuple[str, str]:
    """Device and kind of the file system of a folder, e.g. `server:/export` and `nfs4`."""
    found = {}
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            device, point, kind, *_ = line.split()
            found[Path(point.encode().decode("unicode_escape"))] = (device, kind)
    real = folder.resolve()
    return next((found[one] for one in (real, *real.parents) if one in found), ("", "unknown"))


def space_findings(folder: Path, need: DiskEstimate | None) -> list[Finding]:
    """Free space, free inodes and quota of a folder that exists, against what a run will take."""
    stats = os.statvfs(folder)
    free = stats.f_bavail * stats.f_frsize
    # Some file systems count no inodes and say 0.
    inodes = stats.f_favail if stats.f_files else None
    found = [compare_space("free space", free, need)]
    if need and inodes is not None and inodes < need.files:
        what = f"{inodes} files can be made on the file system of {folder}, but up to {need.files}"
        why = "the run ends when no file can be made"
        fix = "remove files, or set fewer units in the recipe"
        found.append(Finding("folders", "bad", f"{what} will be", why, fix))
    return found + quota_findings(folder, need)


def compare_space(name: str, free: int, need: DiskEstimate | None) -> Finding:
    """Free bytes against those that a run will take."""
    why = "a run that finds the disk full keeps what is finished and stops"
    state: State = "good"
    what = f"{name}: {free / GB:.1f} GB"
    if need is None:
        state = "good" if free > GB else "bad"
        what += "; recipe=NAME compares it with what a run takes"
    else:
        if free < need.max_bytes or need.unknown:
            state = "bad" if free < need.min_bytes else "warn"
        what += f"; the run takes about {need.min_bytes / GB:.1f}"
        what += f" to {need.max_bytes / GB:.1f} GB" if need.max_bytes > need.min_bytes else " GB"
        if need.unknown:
            more = f" and {len(need.unknown) - 2} more" if len(need.unknown) > 2 else ""
            what += f", and what comes of {', '.join(need.unknown[:2])}{more} (sizes not known yet)"
    fix = "" if state == "good" else "free some, name another work folder, or run it in parts"
    return Finding("folders", state, what, why, fix)


def quota_findings(folder: Path, need: DiskEstimate | None) -> list[Finding]:
    """What `quota` says of the file system of a folder; nothing where there is no such command."""
    if not shutil.which("quota"):
        return []
    try:
        done = subprocess.run(
            ["quota", "-w", "-p"],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=QUOTA_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    device, _ = mount_of(folder)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [
        compare_space("quota", left, need)
        for row in rows
        if row and row[0] == device and (left := parse_quota_left(row)) is not None
    ]


def parse_quota_left(row: list[str]) -> int | None:
    """Bytes that a row of quota leaves: device, blocks of 1 KiB, soft limit, hard limit."""
    numbers = [int(field.rstrip("*")) for field in row[1:4] if field.rstrip("*").isdigit()]
    if len(numbers) < 3 or not any(numbers[1:]):
        return None
    used, soft, hard = numbers
    return max(0, (soft or hard) - used) * 1024
