"""The GPUs of a machine: properties from torch and the driver (NVML), and test computations."""

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

#: Side of the small matrix product, and the number of terms summed for each of its entries.
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
    """A GPU as its driver reports it. None if the driver does not report a value."""

    uuid: str
    name: str
    total_bytes: int
    capability: tuple[int, int] | None
    """Compute capability, e.g. (9, 0)."""
    uncorrected_errors: int | None
    """Uncorrected memory errors (ECC) since the driver was loaded."""
    processes: tuple[str, ...] = ()
    """Processes that hold its memory: pid, name, owner and memory."""


class Gpus:
    """The GPUs of this machine, through torch and the driver."""

    collectives = "nccl"

    def device(self, number: int) -> str:
        """Name of a GPU as a torch device."""
        return f"cuda:{number}"

    def count(self) -> int:
        """Number of GPUs visible to this process."""
        import torch

        return int(torch.cuda.device_count())

    def build(self) -> Version | None:
        """CUDA version that torch was built with; None for a build without CUDA."""
        import torch

        major, _, rest = (torch.version.cuda or "").partition(".")
        return (int(major), int(rest.partition(".")[0])) if major else None

    def driver(self) -> Driver | None:
        """The driver of this machine; None if it cannot be queried."""
        return driver()

    def support_fault(self, number: int) -> str:
        """Why torch has no code for a GPU; "" if it has."""
        import torch

        if self.build() is None:
            return ""
        capability = torch.cuda.get_device_capability(number)
        return support_fault(capability, torch.cuda.get_arch_list())

    def start_fault(self, number: int) -> str:
        """Why CUDA does not start on a GPU; "" if it does."""
        import torch

        try:
            # Starts no kernel: a torch without one for this GPU is a separate fault.
            torch.empty(1, device=self.device(number)).cpu()
        except RuntimeError as error:
            return first_line(error)
        return ""

    def kernel_fault(self, number: int) -> tuple[NodeFaultKind, str] | None:
        """Why a Triton kernel fails on a GPU or gives wrong results; None if it is right."""
        import torch

        # Triton starts kernels on the current GPU.
        with torch.cuda.device(number):
            return kernel_fault(self.device(number))

    def card(self, number: int) -> Card:
        """One GPU, with its current free memory."""
        import torch

        facts = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        # The driver writes the prefix `GPU-`, torch omits it.
        uuid = f"GPU-{str(facts.uuid).removeprefix('GPU-')}"
        return Card(number, uuid, facts.name, free, total)

    def driver_cards(self) -> list[DriverCard]:
        """All GPUs of this machine by the driver; empty if it cannot be queried."""
        return driver_cards()

    def product_fault(self, number: int) -> str:
        """What is wrong with a matrix product on a GPU; "" if nothing is."""
        return product_fault(self.device(number))

    def sum_over_ranks(self, rank: int) -> int:
        """All-reduce: the sum of `rank + 1` over all ranks, each on its own GPU."""
        number = int(os.environ.get("LOCAL_RANK", "0")) % self.count()
        return sum_over_ranks(rank, self.device(number))


def product_fault(device: str) -> str:
    """Multiply two matrices of -1, 0 and 1 on a device and compare the result with the CPU's.

    All sums are integers up to 256, which every dtype here holds exactly, so the order of
    additions does not matter. bfloat16 uses the tensor cores.
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
            return f"a matrix product failed: {first_line(error)}"
        wrong = int((found != right_answer).sum())
        if wrong:
            return f"{wrong} of {SIDE * SIDE} entries of a matrix product in {dtype} are wrong"
    return ""


def kernel_fault(device: str) -> tuple[NodeFaultKind, str] | None:
    """Compile and run a Triton kernel, with its cache in a temporary folder.

    Triton compiles C for Python and assembler for the GPU, and loads both. So it can fail with an
    OSError or the error of a subprocess as well as with its own.
    """
    import torch

    with tempfile.TemporaryDirectory(prefix="hala-kernel-") as folder:
        before = os.environ.get("TRITON_CACHE_DIR")
        # Triton's default is in the home folder, which thousands of jobs may share.
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
                    f"Triton kernels do not run: {kind}: {first_line(error)}",
                )
        finally:
            if before is None:
                del os.environ["TRITON_CACHE_DIR"]
            else:
                os.environ["TRITON_CACHE_DIR"] = before
    if not torch.equal(found, 2 * torch.arange(1000, dtype=torch.int32)):
        return NodeFaultKind.WRONG_RESULT, f"{device}: a Triton kernel gives wrong numbers"
    return None


def first_line(error: Exception) -> str:
    """First line of an error message, without the advice that follows."""
    return next(iter(str(error).splitlines()), "")


def sum_over_ranks(rank: int, device: str) -> int:
    """The sum of `rank + 1` over all ranks. Collective."""
    import torch
    from torch import distributed

    number = torch.tensor([rank + 1], dtype=torch.int64, device=device)
    distributed.all_reduce(number)
    return int(number.item())


def driver_cards(nvml: Any = None) -> list[DriverCard]:
    """Query NVIDIA's driver for the GPUs of this machine, without using GPU memory.

    `nvml`: the binding of the driver's library, by default pynvml. Empty without a driver or in
    an environment for machines without GPUs.
    """
    with driver_library(nvml) as library:
        if library is None:
            return []
        found = [driver_card(library, number) for number in range(library.nvmlDeviceGetCount())]
        return [card for card in found if card]
    return []


def driver(nvml: Any = None) -> Driver | None:
    """The driver of this machine and the CUDA version it supports; None without a driver."""
    with driver_library(nvml) as library:
        if library is None:
            return None
        # From the CUDA library, which a forward compatibility package may have replaced.
        cuda = library.nvmlSystemGetCudaDriverVersion_v2()
        release = library.nvmlSystemGetDriverVersion()
        return Driver(release=release, cuda=(cuda // 1000, cuda % 1000 // 10))
    return None


@contextlib.contextmanager
def driver_library(nvml: Any) -> Iterator[Any]:
    """Open the driver's library; yields None if there is none.

    An NVMLError ends the `with` block silently.
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
    """Import pynvml; None in an environment without it."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml


def driver_card(nvml: Any, number: int) -> DriverCard | None:
    """Query one GPU; None if the driver has lost it."""

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
    """Owner of a process, as text; unknown if the process cannot be read."""
    with contextlib.suppress(OSError, KeyError):
        return f"of {Path(f'/proc/{pid}').owner()}"
    return "owner unknown"
