"""The GPUs of a machine: what torch sees of them, what they calculate, what the driver tells."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.jobs.gpu_set_up import Driver, Version, support_fault
from hala_hpc.jobs.node_faults import NodeFaultKind

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

    def device(self, number: int) -> str:
        """A GPU in the words of torch."""
        return f"cuda:{number}"

    def count(self) -> int:
        """GPUs that this process can see."""
        import torch

        return int(torch.cuda.device_count())

    def build(self) -> Version | None:
        """The CUDA that torch was built with; None where it was built for something else."""
        import torch

        major, _, rest = (torch.version.cuda or "").partition(".")
        return (int(major), int(rest.partition(".")[0])) if major else None

    def driver(self) -> Driver | None:
        """The driver of this machine; None where it does not tell."""
        return driver()

    def support_fault(self, number: int) -> str:
        """Why torch has no code for a GPU; "" when it has."""
        import torch

        if self.build() is None:
            return ""
        capability = torch.cuda.get_device_capability(number)
        return support_fault(capability, torch.cuda.get_arch_list())

    def start_fault(self, number: int) -> str:
        """Why CUDA does not start on a GPU; "" when it does."""
        import torch

        try:
            # No kernel: torch may have none for such a GPU, which is another fault.
            torch.empty(1, device=self.device(number)).cpu()
        except RuntimeError as error:
            return first_line(error)
        return ""

    def kernel_fault(self, number: int) -> tuple[NodeFaultKind, str] | None:
        """Why a kernel of Triton does not run on a GPU, or runs wrongly; None when it is right."""
        import torch

        # Triton starts kernels on the GPU that is current.
        with torch.cuda.device(number):
            return kernel_fault(self.device(number))

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
        return product_fault(self.device(number))

    def sum_over_ranks(self, rank: int) -> int:
        """The sum of `rank + 1` over all ranks, each on a GPU of its own."""
        number = int(os.environ.get("LOCAL_RANK", "0")) % self.count()
        return sum_over_ranks(rank, self.device(number))


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
            return f"it does not calculate: {first_line(error)}"
        wrong = int((found != right_answer).sum())
        if wrong:
            return f"{wrong} of {SIDE * SIDE} places of a product in {dtype} are wrong"
    return ""


def kernel_fault(device: str) -> tuple[NodeFaultKind, str] | None:
    """Compile and run a kernel of Triton, its cache in a folder that is removed.

    Triton compiles C for Python and assembler for the GPU, and loads both: what can be in its way
    is an error of the operating system or of a program that it starts as well as one of its own.
    """
    import torch

    with tempfile.TemporaryDirectory(prefix="hala-kernel-") as folder:
        before = os.environ.get("TRITON_CACHE_DIR")
        # The home, which is Triton's own choice, may be shared by thousands of jobs.
        os.environ["TRITON_CACHE_DIR"] = folder
        try:
            from triton import TritonError

            from hala_hpc.jobs.triton_kernel import doubled

            numbers = torch.arange(1000, device=device, dtype=torch.int32)
            try:
                found = doubled(numbers).cpu()
            except (
                TritonError, RuntimeError, AssertionError, OSError, subprocess.SubprocessError,
            ) as error:  # fmt: skip
                kind = type(error).__name__
                return (
                    NodeFaultKind.KERNEL,
                    f"Triton's kernels do not run: {kind}: {first_line(error)}",
                )
        finally:
            if before is None:
                del os.environ["TRITON_CACHE_DIR"]
            else:
                os.environ["TRITON_CACHE_DIR"] = before
    if not torch.equal(found, 2 * torch.arange(1000, dtype=torch.int32)):
        return NodeFaultKind.WRONG_RESULT, f"{device}: a kernel of Triton gives wrong numbers"
    return None


def first_line(error: Exception) -> str:
    """What an error says, without the lines of advice that follow."""
    return next(iter(str(error).splitlines()), "")


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
    with driver_library(nvml) as library:
        if library is None:
            return []
        found = [driver_card(library, number) for number in range(library.nvmlDeviceGetCount())]
        return [card for card in found if card]
    return []


def driver(nvml: Any = None) -> Driver | None:
    """The driver of this machine, and what CUDA it runs; None where there is none to be asked."""
    with driver_library(nvml) as library:
        if library is None:
            return None
        # As the library of CUDA says, which a package for forward compatibility may have replaced.
        cuda = library.nvmlSystemGetCudaDriverVersion_v2()
        release = library.nvmlSystemGetDriverVersion()
        return Driver(release=release, cuda=(cuda // 1000, cuda % 1000 // 10))
    return None


@contextlib.contextmanager
def driver_library(nvml: Any) -> Iterator[Any]:
    """The driver's library while it is open, or None where there is none.

    An error of it ends the block.
    """
    library = nvml or find_nvml()
    if library is None:
        yield None
        return
    try:
        library.nvmlInit()
    except library.NVMLError:
        yield None
        return
    try:
        yield library
    except library.NVMLError:
        pass
    finally:
        library.nvmlShutdown()


def find_nvml() -> Any:
    """The binding of the driver's library; None in an environment without it."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml


def driver_card(nvml: Any, number: int) -> DriverCard | None:
    """One GPU; None where the driver has lost it."""

    def query(function: str, *arguments: Any) -> Any:
        with contextlib.suppress(nvml.NVMLError):
            return getattr(nvml, function)(*arguments)
        return None

    handle = query("nvmlDeviceGetHandleByIndex", number)
    uuid = query("nvmlDeviceGetUUID", handle) if handle is not None else None
    if uuid is None:
        return None
    memory = query("nvmlDeviceGetMemoryInfo", handle)
    kind = (nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
    return DriverCard(
        uuid=uuid,
        name=query("nvmlDeviceGetName", handle) or "unknown",
        total_bytes=memory.total if memory else 0,
        capability=query("nvmlDeviceGetCudaComputeCapability", handle),
        uncorrected_errors=query("nvmlDeviceGetTotalEccErrors", handle, *kind),
        processes=tuple(
            describe_process(one.pid, query("nvmlSystemGetProcessName", one.pid), one.usedGpuMemory)
            for one in query("nvmlDeviceGetComputeRunningProcesses", handle) or ()
        ),
    )


def describe_process(pid: int, name: str | None, held_bytes: int | None) -> str:
    """`process 7 (python, of ada) 512 MiB`."""
    held = "memory unknown" if held_bytes is None else f"{held_bytes // 2**20} MiB"
    return f"process {pid} ({name or 'name unknown'}, {owner(pid)}) {held}"


def owner(pid: int) -> str:
    """Whose a process is, as far as it can be seen from here."""
    with contextlib.suppress(OSError, KeyError):
        return f"of {Path(f'/proc/{pid}').owner()}"
    return "owner unknown"
