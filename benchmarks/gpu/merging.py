"""A slerp of two checkpoints, as the stage merge makes it."""

import time
from collections.abc import Iterator

from benchmarks.gpu.checkpoints import lfm2
from benchmarks.gpu.scale import Place
from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.models.memory import GB
from hala_hpc.engines.models.merging.layer_values import LayerValues
from hala_hpc.engines.models.merging.merge_pass import MergeTarget, Parents, merge_models
from hala_hpc.engines.models.merging.methods import MethodSettings
from hala_hpc.engines.models.merging.parents import require_same_shapes
from hala_hpc.engines.models.tensors import tensor_headers, weight_bytes


class MergeFigures(JsonRecord):
    """Result of a merge."""

    seconds: float
    read_gb: float
    """Weights of both models, in GB of 2^30 bytes."""
    read_gb_per_s: float
    tensors: int
    lost: tuple[str, ...]
    """Tensors of the models that are missing in the merged one."""


def run(place: Place) -> Iterator[MergeFigures]:
    """Merge half and half, and check that every tensor is there."""
    base, tuned = lfm2(place, 0), lfm2(place, 1)
    require_same_shapes(base, tuned)
    merged = place.work / "merged"
    merged.mkdir(exist_ok=True)
    parameters = MethodSettings(method="slerp", t=LayerValues(rest=0.5)).parameters(1)
    began = time.monotonic()
    target = MergeTarget(merged, parameters, "bfloat16")
    merge_models(Parents(base, (tuned,)), [target], lambda: None)
    seconds = time.monotonic() - began
    read_gb = (weight_bytes(base) + weight_bytes(tuned)) / GB
    before, after = tensor_headers(base), tensor_headers(place.work / "merged")
    yield MergeFigures(
        seconds=round(seconds, 2),
        read_gb=round(read_gb, 3),
        read_gb_per_s=round(read_gb / seconds, 3),
        tensors=len(after),
        # An output layer tied to the embedding may or may not be written.
        lost=tuple(sorted(before.keys() - after.keys() - {"lm_head.weight"})),
    )
