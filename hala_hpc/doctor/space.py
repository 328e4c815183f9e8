"""Room on the disk for a run: what is free and what a quota leaves, against an estimate."""

import os
import shutil
import subprocess
from pathlib import Path

from hala_hpc.commands.planning.plan_estimate import DiskEstimate
from hala_hpc.doctor.findings import Finding, State

QUOTA_LIMIT_S = 10
GB = 10**9


def space_findings(folder: Path, need: DiskEstimate | None) -> list[Finding]:
    """Free space, free inodes and quota of a folder that exists, against what a run will take."""
    told = os.statvfs(folder)
    free = told.f_bavail * told.f_frsize
    # Some file systems count no inodes and say 0.
    inodes = told.f_favail if told.f_files else None
    found = [enough("free space", free, need)]
    if need and inodes is not None and inodes < need.files:
        what = f"{inodes} files can be made on the file system of {folder}, but up to {need.files}"
        why = "the run ends when no file can be made"
        cure = "remove files, or set fewer units in the recipe"
        found.append(Finding("folders", "bad", f"{what} will be", why, cure))
    return found + quota_findings(folder, need)


def enough(name: str, free: int, need: DiskEstimate | None) -> Finding:
    """Free bytes against those that a run will take."""
    why = "a run that finds the disk full keeps what is finished and stops"
    state: State = "good"
    what = f"{name}: {free / GB:.1f} GB"
    if need is None:
        state = "good" if free > GB else "bad"
        what += "; recipe=NAME compares it with what a run takes"
    else:
        if free < need.most_bytes or need.unknown:
            state = "bad" if free < need.least_bytes else "warn"
        what += f"; the run takes about {need.least_bytes / GB:.1f}"
        what += (
            f" to {need.most_bytes / GB:.1f} GB" if need.most_bytes > need.least_bytes else " GB"
        )
        if need.unknown:
            more = f" and {len(need.unknown) - 2} more" if len(need.unknown) > 2 else ""
            what += f", and what comes of {', '.join(need.unknown[:2])}{more} (sizes not known yet)"
    cure = "" if state == "good" else "free some, name another work folder, or run it in parts"
    return Finding("folders", state, what, why, cure)


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
    device = device_of(folder)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [
        enough("quota", left, need)
        for row in rows
        if row and row[0] == device and (left := left_of(row)) is not None
    ]


def left_of(row: list[str]) -> int | None:
    """Bytes that a row of quota leaves: device, blocks of 1 KiB, soft limit, hard limit."""
    numbers = [int(word.rstrip("*")) for word in row[1:4] if word.rstrip("*").isdigit()]
    if len(numbers) < 3 or not any(numbers[1:]):
        return None
    used, soft, hard = numbers
    return max(0, (soft or hard) - used) * 1024


def device_of(folder: Path) -> str:
    """The device of a folder as quota names it, e.g. `/dev/sda1` or `server:/export`."""
    real, devices = folder.resolve(), {}
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            device, point, *_ = line.split()
            devices[Path(point)] = device
    return next((devices[one] for one in (real, *real.parents) if one in devices), "")
