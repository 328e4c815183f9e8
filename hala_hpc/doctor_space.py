"""Room on the disk for a run: what is free, what a quota leaves, and what a recipe will take."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.findings import Finding, State
from hala_hpc.core.hub import hub_cache, is_hub_id
from hala_hpc.plan import Step

#: Bytes of a training for each byte of its bfloat16 weights: a checkpoint holds weights, their
#: float32 copy and two moments (2 + 4 + 4 + 4 bytes); two are kept while a third is written, and
#: the model itself comes last.
TRAINING = 3 * 14 / 2 + 1
#: Bytes of a product for each byte of its corpora: the target language beside the source, in
#: parts and once more in the output until the parts are linked.
CORPUS = {"translate": 3.0, "filter": 1.5, "tokenize": 2.0, "prepare": 1.0}
#: Bytes of a product for each byte of the model that it is made of.
MODEL = {"quantize": 0.5, "merge": 1.0, "sft": TRAINING, "tiny": 1.0}
#: Files of a unit and of a worker at most, after the measured runs in docs/measurements.md.
FILES_OF_UNIT, FILES_OF_WORKER = 3, 20
QUOTA_LIMIT_S = 10
GB = 10**9


@dataclass(frozen=True)
class Estimate:
    """What a run will write, as far as it can be told beforehand."""

    bytes_: int
    files: int
    unknown: tuple[str, ...]
    """Inputs whose size nobody knows yet."""


def estimate(steps: Mapping[str, Step], environment: Mapping[str, str]) -> Estimate:
    """What the missing nodes of a plan will take; rough, and rather too much."""
    sizes: dict[str, float] = {}
    total, files = 0.0, 0
    unknown: set[str] = set()
    cache = hub_cache(environment)
    for name, step in steps.items():
        sums = {"model": 0.0, "corpus": 0.0}
        for _, value, reference in step.node.settings.references():
            size = sizes.get(value[1:].partition("/")[0]) if value[:1] == "@" else None
            size = size if value[:1] == "@" else size_of(value, cache)
            if size is None:
                unknown.add(value)
            kind = "model" if "model" in reference.kinds else "corpus"
            sums[kind] += size or 0
        stage = step.node.stage.name
        sizes[name] = sums["corpus"] * CORPUS.get(stage, 0)
        if step.node.stage.produces == "model":
            made = MODEL.get(stage, 1.0) * sums["model"]
            sizes[name] = sums["model"] if stage == "sft" else made
            total += made if step.state != "done" else 0
        else:
            total += sizes[name] if step.state != "done" else 0
        if step.state != "done":
            files += step.units * FILES_OF_UNIT + step.workers * FILES_OF_WORKER
    return Estimate(int(total), files, tuple(sorted(unknown)))


def size_of(value: str, cache: Path) -> float | None:
    """Bytes of a local path or of what the hub cache holds; a model's, by its name, else."""
    path = Path(value).expanduser()
    if is_hub_id(value):
        for kind in ("models", "datasets"):
            blobs = cache / f"{kind}--{value.replace('/', '--')}" / "blobs"
            if blobs.is_dir():
                return bytes_below(blobs)
        named = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z])", value.replace("-", " "))
        scale = {"B": 10**9, "M": 10**6}
        # bfloat16: two bytes a parameter.
        return float(named[1]) * scale[named[2].upper()] * 2 if named else None
    return bytes_below(path) if path.exists() else None


def bytes_below(path: Path) -> float:
    """Bytes of a file, or of all files under a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return float(sum(file.stat().st_size for file in files if file.is_file()))


def space_findings(folder: Path, need: Estimate | None) -> list[Finding]:
    """Free space, free inodes and quota of a folder that exists, against what a run will take."""
    told = os.statvfs(folder)
    free = told.f_bavail * told.f_frsize
    # Some file systems count no inodes and say 0.
    inodes = told.f_favail if told.f_files else None
    found = [enough("free space", free, need.bytes_ if need else None, need)]
    if need and inodes is not None and inodes < need.files:
        what = f"{inodes} files can be made on the file system of {folder}, but up to {need.files}"
        why = "the run ends when no file can be made"
        cure = "remove files, or set fewer units in the recipe"
        found.append(Finding("folders", "bad", f"{what} will be", why, cure))
    return found + quota_findings(folder, need)


def enough(name: str, free: int, asked: int | None, need: Estimate | None) -> Finding:
    """Free bytes against those that a run will take."""
    why = "a run that finds the disk full keeps what is finished and stops"
    if asked is None:
        state: State = "good" if free > GB else "bad"
        cure = "" if state == "good" else "free some, or name another work folder"
        what = f"{name}: {free / GB:.1f} GB; recipe=NAME compares it with what a run takes"
        return Finding("folders", state, what, why, cure)
    state = "bad" if free < asked else "warn" if free < 2 * asked else "good"
    what = f"{name}: {free / GB:.1f} GB; the run takes about {asked / GB:.1f} GB"
    if need and need.unknown:
        more = f" and {len(need.unknown) - 2} more" if len(need.unknown) > 2 else ""
        what += f", and what comes of {', '.join(need.unknown[:2])}{more} (sizes not known yet)"
        state = "warn" if state == "good" else state
    cure = "" if state == "good" else "free some, name another work folder, or run it in parts"
    return Finding("folders", state, what, why, cure)


def quota_findings(folder: Path, need: Estimate | None) -> list[Finding]:
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
        enough("quota", left, need.bytes_ if need else None, need)
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
