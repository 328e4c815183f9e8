"""Facts of GPUs by their names: FLOP/s, memory, compute capability, FP8."""

import re

#: Dense bfloat16 FLOP/s of a GPU, by a part of its name; data sheets of the vendors, no sparsity.
#: The first match counts.
PEAK_FLOPS = {
    "B200": 2.25e15,
    "H100 PCIe": 7.56e14,
    "H100 NVL": 8.35e14,
    "H100": 9.89e14,
    "H200": 9.89e14,
    "GH200": 9.89e14,
    "H800": 9.89e14,
    "A100": 3.12e14,
    "A800": 3.12e14,
    "L40S": 3.62e14,
    "L40": 1.81e14,
    "L4": 1.21e14,
    "A40": 1.50e14,
    "A30": 1.65e14,
    "A10": 1.25e14,
    "MI300X": 1.307e15,
    "MI250": 3.62e14,
}
#: Largest memory of a card, in GB of 2^30 bytes, by a part of its name; data sheets of the vendors.
#: The first match counts. A card of that name may have less: an A100 also exists with 40 GB.
MAX_MEMORY_GB = {
    "B200": 192,
    "GH200": 144,
    "H200": 141,
    "H100 NVL": 94,
    "H100 PCIe": 80,
    "H100": 94,
    "H800": 94,
    "A100": 80,
    "A800": 80,
    "L40": 48,
    "L4": 24,
    "A40": 48,
    "A30": 24,
    "A10": 24,
    "V100": 32,
    "MI300X": 192,
    "MI250": 128,
}
#: Smallest memory, in the same GB, of names that exist with several sizes; same data sheets.
MIN_MEMORY_GB = {
    "B200": 180,
    "GH200": 96,
    "H100": 80,
    "H800": 80,
    "A100": 40,
    "A800": 40,
    "V100": 16,
}
#: Compute capability of the first NVIDIA cards with FP8: Ada (8.9) and Hopper (9.0); Ampere has 8.0
#: and 8.6. On older cards vLLM unpacks FP8 weights, which saves memory but no time.
FP8_CAPABILITY = (8, 9)
#: Lowest compute capability of each generation, and the patterns of its names and SLURM types;
#: after NVIDIA's table https://developer.nvidia.com/cuda-gpus
GENERATIONS = (
    (
        (10, 0),  # Blackwell
        r"b100|b200|b300|gb200|gb300|gb10|blackwell|(rtx)?50[5-9]0(ti)?|pro6000|b40",
    ),
    ((9, 0), r"h100|h200|h800|h20|gh200|hopper"),
    ((8, 9), r"l4|l40s?|l20|(rtx)?\d*ada|lovelace|(rtx)?40[5-9]0(ti|s|d)?"),
    (
        (8, 0),  # Ampere
        r"a100|a800|a10g?|a16|a2|a30|a40|a[2456]000|ampere|(rtx)?30[5-9]0(ti)?",
    ),
    ((7, 5), r"t4|turing|(rtx)?20[678]0(ti|s)?|titan|quadro|(rtx)?[4568]000"),
    ((7, 0), r"v100s?|volta"),
    ((6, 0), r"p100|p40|pascal"),
    ((3, 7), r"k80"),
)
#: Parts of a name that identify the generation only together.
BLACKWELL_WORKSTATION = frozenset({"rtx", "pro", "6000"})


def peak_flops(gpu: str) -> float | None:
    """Return the dense bfloat16 FLOP/s of a GPU by its name or SLURM type; None if unknown."""
    name = gpu.upper()
    return next((peak for name_part, peak in PEAK_FLOPS.items() if name_part.upper() in name), None)


def max_memory_gb(gpu: str) -> int | None:
    """Return the largest memory in GB (2^30 bytes) of a GPU name or SLURM type; None if unknown.

    >>> max_memory_gb("nvidia_h100_80gb_hbm3"), max_memory_gb("a100"), max_memory_gb("fast")
    (80, 80, None)
    """
    return memory_gb(gpu, MAX_MEMORY_GB)


def min_memory_gb(gpu: str) -> int | None:
    """Return the smallest memory in GB (2^30 bytes) of a GPU name or SLURM type; None if unknown.

    >>> min_memory_gb("nvidia_h100_80gb_hbm3"), min_memory_gb("a100"), min_memory_gb("fast")
    (80, 40, None)
    """
    max_gb = max_memory_gb(gpu)
    min_gb = memory_gb(gpu, MIN_MEMORY_GB)
    return max_gb if max_gb is None or min_gb is None else min(max_gb, min_gb)


def memory_gb(gpu: str, table: dict[str, int]) -> int | None:
    """Return the memory in a name such as `80gb`, or the first entry of a table that matches it."""
    if stated := re.search(r"(?<!\d)(\d{1,3})gb(?![a-z])", gpu.lower()):
        return int(stated[1])
    name = gpu.upper().replace("_", " ").replace("-", " ")
    return next((size for name_part, size in table.items() if name_part.upper() in name), None)


def capability_of(gpu: str) -> tuple[int, int] | None:
    """Return the lowest compute capability of a GPU name or SLURM type; None if unknown.

    >>> capability_of("nvidia_h100_80gb_hbm3"), capability_of("fast")
    ((9, 0), None)
    """
    name_parts = re.split(r"[^a-z0-9]+", gpu.lower())
    if set(name_parts) >= BLACKWELL_WORKSTATION:
        return GENERATIONS[0][0]
    for capability, pattern in GENERATIONS:
        if any(re.fullmatch(pattern, part) for part in name_parts):
            return capability
    return None


def has_fp8(gpu: str) -> bool | None:
    """Whether a GPU computes in FP8, by its name or SLURM type; None if unknown.

    >>> has_fp8("nvidia_h100_80gb_hbm3"), has_fp8("a100-sxm4-80gb"), has_fp8("fast")
    (True, False, None)
    """
    capability = capability_of(gpu)
    return None if capability is None else capability >= FP8_CAPABILITY
