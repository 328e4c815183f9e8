"""What SLURM's accounting says that jobs have used."""

import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass

from hala_hpc.backends.slurm.client import ask, split_rows
from hala_hpc.core.errors import Retry

#: Accounting is a witness only: who asks goes on without it after so many seconds.
ACCOUNTING_LIMIT_S = 5
GPUS = re.compile(r"(?:^|,)gres/gpu=(\d+)(?:,|$)")


@dataclass(frozen=True)
class Used:
    """What all elements and attempts of a job or array have used until now."""

    seconds: int = 0
    gpu_seconds: int | None = None
    """None where the site does not count GPUs."""


def used(ids: Collection[str]) -> dict[str, Used] | None:
    """What jobs and arrays have used, by their ids; one question. None: nobody answers."""
    if not ids or not shutil.which("sacct"):
        return None if ids else {}
    words = ("--parsable2", "--noheader", "--allocations", "--duplicates")
    fields = "--format=JobID,ElapsedRaw,AllocTRES"
    try:
        done = ask(
            "sacct", *words, f"--jobs={','.join(sorted(ids))}", fields, limit_s=ACCOUNTING_LIMIT_S
        )
    except Retry:
        return None
    if done.returncode:
        return None
    found: dict[str, Used] = {}
    for name, elapsed, tres in (row for row in split_rows(done.stdout) if len(row) == 3):
        number = name.split("_")[0]
        found[number] = added(found.get(number, Used()), int(elapsed or 0), tres)
    return found


def added(before: Used, seconds: int, tres: str) -> Used:
    """What was used, with one element more."""
    gpus = GPUS.search(tres)
    if gpus is None:
        return Used(before.seconds + seconds, before.gpu_seconds)
    return Used(before.seconds + seconds, (before.gpu_seconds or 0) + seconds * int(gpus[1]))
