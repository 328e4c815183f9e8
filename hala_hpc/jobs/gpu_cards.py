"""The GPUs of a machine: what torch sees of them, what they calculate, what the driver tells."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Rows and columns of the small product, and numbers that are added up for each of its places.
SIDE, DEPTH = 1024, 256


@dataclass(frozen=True)
class Card:
    """A GPU as torch sees it."""

    number: int
    uuid: str
    name: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class DriverCard:
    """A GPU as its driver sees it. None: the driver does not tell."""

    uuid: str
    name: str
    total_bytes: int
    capability: tuple[int, int] | None
    """Compute capability, e.g. (9, 0)."""
    uncorrected_errors: int | None
    """Memory errors (ECC) that were not corrected since the driver was loaded."""
    processes: tuple[str, ...] = ()
    """Those that hold memory of it: number, name, owner and memory."""


class Gpus:
    """The GPUs of this machine, through torch and the driver."""

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
        # The driver writes the prefix, torch leaves it out.
        uuid = f"GPU-{str(facts.uuid).removeprefix('GPU-')}"
        return Card(number, uuid, facts.name, free, total)

    def driver_cards(self) -> list[DriverCard]:
        """What the driver tells of all GPUs of this machine; none where it tells nothing."""
        return driver_cards()

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


def driver_cards(nvml: Any = None) -> list[DriverCard]:
    """The GPUs of this machine as NVIDIA's driver shows them; takes no memory of them.

    `nvml`: the driver's library, by default that of this machine. None are shown where there is no
    driver, or where the environment is one for machines without GPUs.
    """
    nvml = nvml or find_nvml()
    if nvml is None:
        return []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    try:
        found = [driver_card(nvml, number) for number in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return []
    finally:
        nvml.nvmlShutdown()
    return [card for card in found if card]


def find_nvml() -> Any:
    """The binding of the driver's library; None in an environment without it."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml


def driver_card(nvml: Any, number: int) -> DriverCard | None:
    """One GPU; None where the driver has lost it."""

    def told(ask: str, *words: Any) -> Any:
        with contextlib.suppress(nvml.NVMLError):
            return getattr(nvml, ask)(*words)
        return None

    handle = told("nvmlDeviceGetHandleByIndex", number)
    uuid = told("nvmlDeviceGetUUID", handle) if handle is not None else None
    if uuid is None:
        return None
    memory = told("nvmlDeviceGetMemoryInfo", handle)
    kind = (nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
    return DriverCard(
        uuid=uuid,
        name=told("nvmlDeviceGetName", handle) or "unknown",
        total_bytes=memory.total if memory else 0,
        capability=told("nvmlDeviceGetCudaComputeCapability", handle),
        uncorrected_errors=told("nvmlDeviceGetTotalEccErrors", handle, *kind),
        processes=tuple(
            process_words(one.pid, told("nvmlSystemGetProcessName", one.pid), one.usedGpuMemory)
            for one in told("nvmlDeviceGetComputeRunningProcesses", handle) or ()
        ),
    )


def process_words(pid: int, name: str | None, held_bytes: int | None) -> str:
    """`process 7 (python, of ada) 512 MiB`."""
    held = "memory unknown" if held_bytes is None else f"{held_bytes // 2**20} MiB"
    return f"process {pid} ({name or 'name unknown'}, {owner(pid)}) {held}"


def owner(pid: int) -> str:
    """Whose a process is, as far as it can be seen from here."""
    with contextlib.suppress(OSError, KeyError):
        return f"of {Path(f'/proc/{pid}').owner()}"
    return "owner unknown"
