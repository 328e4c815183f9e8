"""Check the file systems of a run and their free space.

Write, fsync, link, rename and read back are tested with one small file, which is removed. Then
come modes and clocks, and free space and quota against an estimate.
"""

import contextlib
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from hala_hpc.commands.planning.plan_estimate import DiskEstimate
from hala_hpc.core.files import fsync_path
from hala_hpc.core.quotas import Quota, find_mount, find_quotas
from hala_hpc.doctor.findings import Finding, State

#: File systems that other machines do not share.
OF_ONE_MACHINE = (
    *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs"),
    *("tmpfs", "ramfs", "overlay"),
)
#: Variables whose folders only need to be readable, or that name a file.
READ_ONLY = ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "MODULEPATH", "CUDA_HOME")
CONTENT = "test of hala_hpc.doctor\n"
#: Limit in seconds: a slower fsync makes workers wait, as they commit rows every 30 s.
SLOW_S = 2.0
#: Clock differences in seconds: wrong times in listings; near what munge refuses (300 s).
SKEW_WARN_S, SKEW_BAD_S = 5.0, 120.0
GB = 10**9


def folder_findings(
    name: str, folder: Path, needs_writing: bool = True, on_one: bool = False
) -> list[Finding]:
    """Findings about the folder that override or variable `name` sets, or its nearest parent.

    `on_one`: jobs run on this machine, so other machines need not see the folder.
    """
    there = nearest_existing(folder)
    if not there.is_dir():
        what = f"{name}: {there} is a file"
        return [
            Finding("folders", "error", what, "a folder is needed", f"set {name} to another folder")
        ]
    place = f"{name} {folder}" + ("" if there == folder else f" (will be created under {there})")
    found = [probe_folder(place, name, there, needs_writing), *modes(name, there)]
    return found if on_one else [*found, check_shared_mount(place, there)]


def nearest_existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))


def launcher_folders(environment: Mapping[str, str]) -> dict[str, Path]:
    """Folders in the environment variables of a launcher, by variable."""
    return {
        name: Path(value).expanduser()
        for name, value in environment.items()
        if value.startswith(("/", "~/")) and ":" not in value and not Path(value).is_file()
    }


def probe_folder(place: str, name: str, folder: Path, needs_writing: bool) -> Finding:
    """Test with one small file what a worker does with its results."""
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
            raise OSError(0, "the content read back differs")
    except OSError as error:
        return refused(place, name, f"a file cannot be {step}: {error.strerror}", needs_writing)
    finally:
        for one in (path, second, third):
            with contextlib.suppress(OSError):
                one.unlink(missing_ok=True)
    return timed(place, took_s, ahead_s)


def refused(place: str, name: str, problem: str, needs_writing: bool) -> Finding:
    """Finding for a folder in which results cannot be written."""
    if not needs_writing:
        why = "its files can be read, but libraries cannot write their caches there"
        return Finding(
            "folders", "warn", f"{place}: {problem}", why, f"set {name} to another folder"
        )
    why = "results are written, synced, linked and renamed: one of these does not work here"
    return Finding("folders", "error", f"{place}: {problem}", why, f"set {name} to another folder")


def timed(place: str, took_s: float, ahead_s: float) -> Finding:
    """Finding for a working folder: its speed, and whether its clock agrees with this machine."""
    skew = abs(ahead_s)
    if skew > SKEW_WARN_S:
        return Finding(
            "folders",
            "error" if skew > SKEW_BAD_S else "warn",
            f"{place}: its clock is {skew:.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this "
            "machine's",
            "times in `status` are wrong by that, and SLURM refuses messages that appear 5 minutes "
            "old or from the future",
            "ask the admins to synchronise the clocks (`timedatectl` on both machines)",
        )
    if took_s > SLOW_S:
        what = f"{place}: a small file takes {took_s:.1f} s to reach the disk"
        why = "every worker waits that long for each commit of rows"
        return Finding("folders", "warn", what, why, "use a faster file system, e.g. scratch")
    what = f"{place}: write, fsync, link, rename and read back work, in {took_s * 1000:.0f} ms"
    why = f"written files are durable; clocks agree to {max(skew, 0.1):.1f} s"
    return Finding("folders", "good", what, why)


def modes(name: str, folder: Path) -> list[Finding]:
    """Findings about other users who can write to a folder or replace it."""
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
        # Groups share scratch folders on purpose, so their access is only a warning.
        state: State = "error" if "everybody" in open_to else "warn"
        what = f"{name}: {one} may be changed by {' and '.join(open_to)} (mode {mode:o})"
        why = (
            "who can replace a file here can run programs as you: jobs read code from such folders"
        )
        found.append(Finding("folders", state, what, why, f"chmod go-w {one}, or chmod +t {one}"))
    return found


def check_shared_mount(place: str, folder: Path) -> Finding:
    """Whether other machines share a file system, judged by its type."""
    kind = file_system(folder)
    if kind not in OF_ONE_MACHINE:
        return Finding("folders", "good", f"{place}: file system {kind}", "it is shared")
    what = f"{place}: file system {kind}, which is usually local to one machine"
    why = "jobs on other nodes must see the same files"
    fix = "none if the nodes share it (job=true tests it); else use a shared folder"
    return Finding("folders", "warn", what, why, fix)


def file_system(folder: Path) -> str:
    """Type of the file system of a folder, e.g. ext4, nfs4, lustre."""
    return find_mount(folder)[2]


def space_findings(folder: Path, need: DiskEstimate | None) -> list[Finding]:
    """Free space, inodes and quota of an existing folder, against the estimate of a run."""
    stats = os.statvfs(folder)
    free = stats.f_bavail * stats.f_frsize
    # Some file systems do not count inodes and report 0.
    inodes = stats.f_favail if stats.f_files else None
    found = [compare_space("free space", free, need)]
    if need and inodes is not None and inodes < need.files:
        what = (
            f"the file system of {folder} has room for {inodes} more files, but up to {need.files}"
        )
        why = "the run fails when no file can be created"
        fix = "remove files, or set fewer units in the recipe"
        found.append(Finding("folders", "error", f"{what} are needed", why, fix))
    return found + quota_findings(folder, need)


def compare_space(name: str, free: int, need: DiskEstimate | None) -> Finding:
    """Compare free bytes with the estimate of a run."""
    why = "a run on a full disk keeps its finished units and stops"
    state: State = "good"
    what = f"{name}: {free / GB:.1f} GB"
    if need is None:
        state = "good" if free > GB else "error"
        what += "; recipe=NAME compares it with the estimate of a run"
    else:
        if free < need.max_bytes or need.unknown:
            state = "error" if free < need.min_bytes else "warn"
        what += f"; the run needs about {need.min_bytes / GB:.1f}"
        what += f" to {need.max_bytes / GB:.1f} GB" if need.max_bytes > need.min_bytes else " GB"
        if need.unknown:
            more = f" and {len(need.unknown) - 2} more" if len(need.unknown) > 2 else ""
            what += f", and the output of {', '.join(need.unknown[:2])}{more} (size not known yet)"
    fix = (
        ""
        if state == "good"
        else "free some space, use another work folder, or run the recipe in parts"
    )
    return Finding("folders", state, what, why, fix)


def quota_findings(folder: Path, need: DiskEstimate | None) -> list[Finding]:
    """Findings about the quotas that hold in a folder; empty if none is known."""
    found = []
    for quota in find_quotas(folder):
        if quota.bytes_left is not None:
            found.append(compare_space(f"quota ({quota.scope})", quota.bytes_left, need))
        if quota.files_left is not None:
            found.append(compare_files(quota, need))
    return found


def compare_files(quota: Quota, need: DiskEstimate | None) -> Finding:
    """Compare a quota of files with the estimate of a run."""
    left = quota.files_left or 0
    what = f"quota ({quota.scope}): {left} files of {quota.max_files}"
    why = "the run fails when no file can be created"
    if need is None or need.files <= left:
        return Finding("folders", "good", what, why)
    fix = "`hala clean` removes units behind an output; or set fewer units in the recipe"
    return Finding("folders", "error", f"{what}; up to {need.files} are needed", why, fix)
