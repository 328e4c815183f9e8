"""Requirements of each part on the card, estimated from the shapes: nothing is loaded."""

from benchmarks.gpu.memory import CASES
from benchmarks.gpu.parts import Part
from benchmarks.gpu.scale import CARD
from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.models.memory import GB
from hala_hpc.engines.models.shape import ModelShape, read_shape
from hala_hpc.engines.training.rank_memory import rank_memory
from hala_hpc.engines.training.settings import TrainingSettings

#: Checkpoints in bfloat16 that a part writes or reads.
CHECKPOINTS = {"memory": 1, "training": 2, "scoring": 1, "merging": 3}


class PartNeed(JsonRecord):
    """Requirements of a part on a machine with one card."""

    part: str
    limit_s: int
    gpu_gb: float | None
    """Of its largest step, with CUDA's context, in GB of 2^30 bytes. None: not estimated, a few GB.
    A training that does not fit ends by itself."""
    disk_gb: float
    """Of its own; parts share what is made twice."""
    packages: tuple[str, ...]


def need(part: Part) -> PartNeed:
    """Estimate the requirements of a part at the size of the card."""
    shape = read_shape(CARD.shape())
    assert shape, "the shape of the model is in throughput.toml"
    return PartNeed(
        part=part.name,
        limit_s=part.limit_s,
        gpu_gb=gpu_gb(part.name, shape),
        disk_gb=round(CHECKPOINTS.get(part.name, 0) * 2 * shape.weights / GB, 1),
        packages=part.packages,
    )


def gpu_gb(name: str, shape: ModelShape) -> float | None:
    """Return the GPU memory of the largest training of a part; 0 if it uses no GPU."""
    if name == "merging":
        return 0.0
    if name not in ("memory", "training"):
        return None
    tokens = round(max(case.pass_share for case in CASES) * CARD.pass_tokens)
    taken = rank_memory(shape, TrainingSettings(zero_stage=0), 1, tokens, CARD.longest_row)
    return round(taken.total / GB, 1)
