"""Fake GPUs: their memory and errors are made up; what they calculate, the processor calculates."""

import os

from hala_hpc.jobs import node_health
from hala_hpc.jobs.gpu_cards import (
    Card,
    DriverCard,
    Gpus,
    describe_process,
    kernel_fault,
    product_fault,
    sum_over_ranks,
)
from hala_hpc.jobs.gpu_set_up import Driver, Version, support_fault
from hala_hpc.jobs.node_faults import NodeFaultKind

MEMORY_BYTES = 80 * 2**30


class FakeGpus(Gpus):
    """As many as CUDA_VISIBLE_DEVICES names.

    Each of them is free unless HALA_FAKE_HELD_GB is set; the first has counted HALA_FAKE_ERRORS,
    and the second is held by process HALA_FAKE_HOLDER. Torch is built with CUDA 13.0 for GPUs of
    HALA_FAKE_ARCHS, and the driver is for CUDA 13.0 unless HALA_FAKE_CUDA is set. With
    HALA_FAKE_DEAD CUDA does not start on the first.
    """

    collectives = "gloo"

    def device(self, number: int) -> str:
        del number
        return "cpu"

    def build(self) -> Version | None:
        return (13, 0)

    def driver(self) -> Driver | None:
        major, minor = os.environ.get("HALA_FAKE_CUDA", "13.0").split(".")
        return Driver(release="550.54.15", cuda=(int(major), int(minor)))

    def support_fault(self, number: int) -> str:
        del number
        return support_fault((9, 0), os.environ.get("HALA_FAKE_ARCHS", "sm_90").split(","))

    def start_fault(self, number: int) -> str:
        return "CUDA error: made up" if number == 0 and "HALA_FAKE_DEAD" in os.environ else ""

    def kernel_fault(self, number: int) -> tuple[NodeFaultKind, str] | None:
        # So that Triton lets the processor do what a GPU would.
        os.environ["TRITON_INTERPRET"] = "1"
        return kernel_fault(self.device(number))

    def count(self) -> int:
        return len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))

    def card(self, number: int) -> Card:
        held = int(os.environ.get("HALA_FAKE_HELD_GB", "0")) * 2**30
        return Card(number, f"GPU-fake-{number}", "Fake", MEMORY_BYTES - held, MEMORY_BYTES)

    def driver_cards(self) -> list[DriverCard]:
        errors = int(os.environ.get("HALA_FAKE_ERRORS", "0"))
        first = DriverCard("GPU-fake-0", "Fake", MEMORY_BYTES, (9, 0), errors)
        if "HALA_FAKE_HOLDER" not in os.environ:
            return [first]
        holder = describe_process(int(os.environ["HALA_FAKE_HOLDER"]), "python", MEMORY_BYTES // 2)
        return [first, DriverCard("GPU-fake-1", "Fake", MEMORY_BYTES, (9, 0), None, (holder,))]

    def product_fault(self, number: int) -> str:
        del number
        return product_fault("cpu")

    def sum_over_ranks(self, rank: int) -> int:
        return sum_over_ranks(rank, "cpu")


def use_fake_gpus(bad_nodes: list[str], cuda: str) -> None:
    """Let the probe of a node find these; on bad nodes the first of them has counted errors.

    `cuda`: of the driver, "" for that of torch.
    """
    if cuda:
        os.environ["HALA_FAKE_CUDA"] = cuda
    node_health.has_gpu_build = lambda: True
    node_health.PROBE = "fake_gpu_probe"
    node = os.environ.get("HALA_NODE", "")
    if node and node in bad_nodes:
        os.environ["HALA_FAKE_ERRORS"] = "4"
