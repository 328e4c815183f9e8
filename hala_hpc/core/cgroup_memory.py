"""Memory limit and out-of-memory kills of a job, read from its Linux control group.

Read from the group of this process, version 1 or 2 (Linux,
Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst). A scheduler puts each job into a
group of its own.
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
#: Version 1 reports "no limit" as a number near 2^63.
NO_LIMIT_BYTES = 2**60


@dataclass(frozen=True)
class MemoryRecord:
    """Memory counters of a control group at one time."""

    kills: int
    """Processes that the kernel killed for their memory."""
    peak_bytes: int | None
    """Peak usage; None if the kernel does not report it."""
    limit_bytes: int | None
    """Limit of the group or of a group around it; None if there is none."""


def read_memory_record() -> MemoryRecord | None:
    """Read the counters of this process's group; None if no counter can be read."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return read_cgroup_v1(find_group_folder(GROUPS / "memory", path))
    for line in lines:
        if line.startswith("0::"):
            return read_cgroup_v2(find_group_folder(GROUPS, line[3:]))
    return None


def job_memory_bytes() -> int:
    """Memory that this job may use: the limit of its control group, or the whole machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    record = read_memory_record()
    return min(machine, record.limit_bytes or machine) if record else machine


def find_group_folder(root: Path, path: str) -> Path:
    """Folder of a group; in a container, where the path is the host's, its own group."""
    folder = root / path.lstrip("/")
    return folder if folder.is_dir() else root


def read_cgroup_v1(folder: Path) -> MemoryRecord | None:
    """Read a group of version 1; it counts only the kills in the group itself."""
    kills = read_counters(folder / "memory.oom_control").get("oom_kill")
    limit = read_counters(folder / "memory.stat").get("hierarchical_memory_limit", NO_LIMIT_BYTES)
    if kills is None:
        return None
    # The limit may be that of the job while this process is in the group of one of its steps.
    for group in (folder, *folder.parents):
        if read_counter(group / "memory.limit_in_bytes") == limit:
            peak = read_counter(group / "memory.max_usage_in_bytes")
            return MemoryRecord(kills, peak, limit if limit < NO_LIMIT_BYTES else None)
    return MemoryRecord(kills, None, None)


def read_cgroup_v2(folder: Path) -> MemoryRecord | None:
    """Read a group of version 2; it also counts the kills in the groups below it."""
    # Without the memory controller a group has no counter, but a group around it may.
    groups = [g for g in (folder, *folder.parents) if (g / "memory.events").exists()]
    if not groups:
        return None
    kills = read_counters(groups[0] / "memory.events").get("oom_kill", 0)
    limits = [(n, g) for g in groups if (n := read_counter(g / "memory.max")) is not None]
    if not limits:
        return MemoryRecord(kills, read_counter(groups[0] / "memory.peak"), None)
    limit, group = min(limits)
    return MemoryRecord(kills, read_counter(group / "memory.peak"), limit)


def read_counters(path: Path) -> dict[str, int]:
    """Read lines of a name and a number; empty if there is no such file."""
    try:
        pairs = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return {}
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def read_counter(path: Path) -> int | None:
    """Read a file with one number; None if there is no file, or it holds `max`."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def explain_child_exit(status: int, before: MemoryRecord | None, after: MemoryRecord | None) -> str:
    """Explain why a child ended, as far as the system reports it; "" if it ended by itself.

    `status` is that of `subprocess`: negative for a signal. The records are from before its start
    and after its end.
    """
    if after and has_oom_kill(before, after):
        usage = describe_memory_usage(after)
        return f"the kernel killed it: out of memory{usage}; raise resources.mem_gb"
    if status >= 0:
        return ""
    name = signal.Signals(-status).name
    if status == -signal.SIGKILL and (before is None or after is None):
        return f"killed by {name}; perhaps out of memory: resources.mem_gb is its limit"
    return f"killed by {name}"


def has_oom_kill(before: MemoryRecord | None, after: MemoryRecord | None) -> bool:
    """Whether the kernel killed a process for its memory between two records."""
    return bool(before and after and after.kills > before.kills)


def describe_memory_usage(record: MemoryRecord) -> str:
    """Format used and allowed memory, in the GB of `resources.mem_gb` (2^30 bytes)."""
    if record.limit_bytes is None:
        return " of the whole machine"
    limit = f"{record.limit_bytes / 2**30:.1f} GB"
    if record.peak_bytes is None:
        return f" at its limit of {limit}"
    return f" at {record.peak_bytes / 2**30:.1f} of {limit}"
