"""Fake GPUs: their memory and errors are made up; what they calculate, the processor calculates."""

import os

from hala_hpc.jobs import gpu_cards, node_health
from hala_hpc.jobs.gpu_cards import Card, Gpus, product_fault, sum_over_ranks

MEMORY_BYTES = 80 * 2**30


class FakeGpus(Gpus):
    """As many as CUDA_VISIBLE_DEVICES names, each of them free unless HALA_FAKE_HELD says so."""

    collectives = "gloo"

    def count(self) -> int:
        return len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))

    def card(self, number: int) -> Card:
        held = int(os.environ.get("HALA_FAKE_HELD_GB", "0")) * 2**30
        return Card(number, f"GPU-fake-{number}", "Fake", MEMORY_BYTES - held, MEMORY_BYTES)

    def product_fault(self, number: int) -> str:
        del number
        return product_fault("cpu")

    def sum_over_ranks(self, rank: int) -> int:
        return sum_over_ranks(rank, "cpu")


def use_fake_gpus(bad_nodes: list[str]) -> None:
    """Let the look at a node find these; on bad nodes the first of them has counted errors."""
    has_errors = os.environ.get("HALA_NODE", "") in bad_nodes
    node_health.has_gpu_build = lambda: True
    gpu_cards.Gpus = FakeGpus  # type: ignore[misc]
    gpu_cards.uncorrected_errors = lambda: {"GPU-fake-0": 4} if has_errors else {}
