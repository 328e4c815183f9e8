"""The node check at the start of jobs, and the speed of the GPU."""

import time
from collections.abc import Iterator

from benchmarks.gpu.scale import Place
from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.models.gpus import peak_flops
from hala_hpc.jobs.gpu_cards import driver, driver_cards
from hala_hpc.jobs.gpu_set_up import compiler_fault
from hala_hpc.jobs.node_faults import NodeProbeResult
from hala_hpc.jobs.node_health import NodeProbeRequest, probe_node

#: Timeout in seconds of the probe, which starts torch itself.
PROBE_LIMIT_S = 40
NODE = "here"
PRODUCTS = 10


class NodeFigures(JsonRecord):
    """Findings on this node; None if unknown."""

    driver: str | None = None
    cuda_of_driver: str | None = None
    compiler_fault: str | None = None
    """None if C can be compiled for Python."""
    cards: tuple[str, ...] = ()
    uncorrected_errors: tuple[int | None, ...] = ()


class SpeedFigures(JsonRecord):
    """Speed of a product of square matrices in bfloat16, the mean of ten, random numbers."""

    side: int
    tflops: float
    share_of_peak: float | None = None
    """Share of the data sheet's figure."""


def run(place: Place) -> Iterator[JsonRecord]:
    """Check the driver and the compiler, run the probe as a job does, and measure the speed."""
    found, fault, cards = driver(), compiler_fault(), driver_cards()
    yield NodeFigures(
        driver=found.release if found else None,
        cuda_of_driver=".".join(map(str, found.cuda)) if found else None,
        compiler_fault=fault[1] if fault else None,
        cards=tuple(card.name for card in cards),
        uncorrected_errors=tuple(card.uncorrected_errors for card in cards),
    )
    yield probed()
    yield speed(place.scale.product_side)


def probed() -> NodeProbeResult:
    """Run the probe for one GPU; on a machine without one it reports that."""
    return probe_node(NODE, NodeProbeRequest(gpus=1), PROBE_LIMIT_S)


def speed(side: int) -> SpeedFigures:
    """Measure the speed of matrix products."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))

    def products(count: int) -> float:
        began = time.monotonic()
        for _ in range(count):
            left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        return time.monotonic() - began

    products(3)
    flops = 2 * side**3 * PRODUCTS / products(PRODUCTS)
    peak = peak_flops(torch.cuda.get_device_name()) if device == "cuda" else None
    share = round(flops / peak, 3) if peak else None
    return SpeedFigures(side=side, tflops=round(flops / 1e12, 3), share_of_peak=share)
