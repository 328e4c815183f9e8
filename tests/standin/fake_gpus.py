"""Fake GPUs: their memory and errors are made up; what they calculate, the processor calculates."""

import os

from hala_hpc.jobs import node_health
from hala_hpc.jobs.gpu_cards import (
    Card,
    DriverCard,
    Gpus,
    process_words,
    product_fault,
    sum_over_ranks,
)

MEMORY_BYTES = 80 * 2**30


class FakeGpus(Gpus):
    """As many as CUDA_VISIBLE_DEVICES names.

    Each of them is free unless HALA_FAKE_HELD_GB says so; the first has counted HALA_FAKE_ERRORS,
    and the second is held by process HALA_FAKE_HOLDER.
    """

    collectives = "gloo"

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
        holder = process_words(int(os.environ["HALA_FAKE_HOLDER"]), "python", MEMORY_BYTES // 2)
        return [first, DriverCard("GPU-fake-1", "Fake", MEMORY_BYTES, (9, 0), None, (holder,))]

    def product_fault(self, number: int) -> str:
        del number
        return product_fault("cpu")

    def sum_over_ranks(self, rank: int) -> int:
        return sum_over_ranks(rank, "cpu")


def use_fake_gpus(bad_nodes: list[str]) -> None:
    """Let the look at a node find these; on bad nodes the first of them has counted errors."""
    node_health.has_gpu_build = lambda: True
    node_health.PROBE = "fake_gpu_probe"
    if os.environ.get("HALA_NODE", "") in bad_nodes:
        os.environ["HALA_FAKE_ERRORS"] = "4"
