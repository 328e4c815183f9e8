"""The GPUs that a process sees: their memory, their errors, and whether they calculate rightly."""

import contextlib
import csv
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: Rows and columns of the small product, and numbers that are added up for each of its places.
SIDE, DEPTH = 1024, 256
#: How long the driver's own program may take to answer, in seconds.
ANSWER_LIMIT_S = 60


@dataclass(frozen=True)
class Card:
    """A GPU as torch sees it."""

    number: int
    uuid: str
    name: str
    free_bytes: int
    total_bytes: int


class Gpus:
    """The GPUs of this machine, through torch."""

    collectives = "nccl"

    def count(self) -> int:
        """GPUs that this process can see."""
        import torch

        return int(torch.cuda.device_count())

    def card(self, number: int) -> Card:
        """One GPU, with its memory as it is now."""
        import torch

        facts = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        # The driver's own program writes the prefix, torch leaves it out.
        uuid = f"GPU-{str(facts.uuid).removeprefix('GPU-')}"
        return Card(number, uuid, facts.name, free, total)

    def product_fault(self, number: int) -> str:
        """What is wrong with a product that a GPU calculates; "" when nothing is."""
        return product_fault(f"cuda:{number}")

    def sum_over_ranks(self, rank: int) -> int:
        """The sum of `rank + 1` over all ranks, each on a GPU of its own."""
        number = int(os.environ.get("LOCAL_RANK", "0")) % self.count()
        return sum_over_ranks(rank, f"cuda:{number}")


def product_fault(device: str) -> str:
    """Calculate a product of two matrices of -1, 0 and 1 and compare it with the processor's.

    All sums are whole numbers up to 256, which every type here holds exactly, so that not even the
    order of additions matters. bfloat16 goes through the tensor cores.
    """
    import torch

    draw = torch.Generator().manual_seed(0)
    left = torch.randint(-1, 2, (SIDE, DEPTH), generator=draw).float()
    right = torch.randint(-1, 2, (DEPTH, SIDE), generator=draw).float()
    right_answer = left @ right
    for dtype in (torch.float32, torch.bfloat16):
        try:
            found = (left.to(device, dtype) @ right.to(device, dtype)).float().cpu()
        except RuntimeError as error:
            return f"it does not calculate: {str(error).splitlines()[0]}"
        wrong = int((found != right_answer).sum())
        if wrong:
            return f"{wrong} of {SIDE * SIDE} places of a product in {dtype} are wrong"
    return ""


def sum_over_ranks(rank: int, device: str) -> int:
    """The sum of `rank + 1` over all ranks. Collective."""
    import torch
    from torch import distributed

    number = torch.tensor([rank + 1], dtype=torch.int64, device=device)
    distributed.all_reduce(number)
    return int(number.item())


def uncorrected_errors() -> dict[str, int]:
    """Memory errors of each GPU, by its UUID, that were not corrected since its driver was loaded.

    Without those whose driver does not count them.
    """
    rows = ask_driver("--query-gpu=uuid,ecc.errors.uncorrected.volatile.total")
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def processes_on(uuid: str) -> list[str]:
    """Processes that hold memory of a GPU: number, name, owner and memory."""
    rows = ask_driver("--query-compute-apps=gpu_uuid,pid,process_name,used_memory")
    return [
        f"process {pid} ({name}, {owner(pid)}) {memory}"
        for gpu, pid, name, memory in (row for row in rows if len(row) == 4)
        if gpu == uuid
    ]


def owner(pid: str) -> str:
    """Whose a process is, as far as it can be seen from here."""
    with contextlib.suppress(OSError, KeyError):
        return f"of {Path(f'/proc/{pid}').owner()}"
    return "owner unknown"


def ask_driver(question: str) -> list[list[str]]:
    """Rows of what `nvidia-smi` answers; none where it does not."""
    words = ["nvidia-smi", question, "--format=csv,noheader"]
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, timeout=ANSWER_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return [[cell.strip() for cell in row] for row in csv.reader(lines)]
