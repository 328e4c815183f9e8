"""The methods of our own arithmetic, by parts of a tensor: linear, slerp, task_arithmetic.

Each computes in float32 what mergekit 0.1.5 does, in the same order, so that both round alike: if
two large numbers cancel, another order gives another bfloat16.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from hala_hpc.engines.models.merging.layer_kinds import LayerPlace
from hala_hpc.engines.models.merging.layer_values import weights_of_models
from hala_hpc.engines.models.merging.methods import MergeParameters
from hala_hpc.engines.models.merging.moments import Moments

#: Cosine above which slerp interpolates linearly, length below which a tensor counts as 0, and
#: numbers that are summed at once; those of mergekit.
LINEAR_COSINE = 0.9995
SMALLEST_LENGTH = 1e-8
MERGEKIT_CHUNK_NUMBERS = 2**20
#: Sum of weights below which `normalize` divides by 1, as in mergekit.
SMALLEST_SUM = 1e-8

#: Computes a part of the merged tensor from parts of base and tuned models, in float32.
MergeParts = Callable[[Sequence[Any]], Any]


def prepare_merge(
    parameters: MergeParameters, place: LayerPlace, tensors: Sequence[Any], moments: Moments
) -> MergeParts:
    """Return what merges parts of a tensor; `tensors` are flat, as stored, base first."""
    kind, depth = place
    t = parameters.t.at(kind, depth)
    weights = weights_of_models(parameters.weights, kind, depth)
    if parameters.method == "slerp":
        return prepare_slerp(t, tensors, moments)
    if parameters.method == "linear":
        return prepare_mean([1 - t, *(t * weight for weight in weights)])
    return prepare_changes(weights, parameters.scale.at(kind, depth), parameters.normalize)


def prepare_mean(weights: Sequence[float]) -> MergeParts:
    """Return the weighted mean of base and tuned models."""
    import torch

    factors = torch.tensor(weights, dtype=torch.float32)
    total = factors.sum()

    def merge(parts: Sequence[Any]) -> Any:
        result = torch.zeros_like(parts[0])
        for part, factor in zip(parts, factors, strict=True):
            result.addcmul_(part, factor.reshape(1))
        return result.div_(total)

    return merge


def prepare_changes(weights: Sequence[float], scale: float, normalize: bool) -> MergeParts:
    """Return the base plus the scaled sum of the weighted changes from it."""
    import torch

    factors = torch.tensor(weights, dtype=torch.float32)
    divisor = factors.sum()
    divisor = torch.ones_like(divisor) if divisor.abs() < SMALLEST_SUM else divisor

    def merge(parts: Sequence[Any]) -> Any:
        base, *tuned = parts
        result: Any = None
        for part, factor in zip(tuned, factors, strict=True):
            change = torch.sub(part, base).mul_(factor)
            result = change if result is None else result.add_(change)
        if normalize:
            result.div_(divisor)
        if scale != 1:
            result.mul_(scale)
        return result.add_(base)

    return merge


def prepare_slerp(t: float, tensors: Sequence[Any], moments: Moments) -> MergeParts:
    """Return the point at `t` of the arc from the base to the tuned model.

    The cosine of a large tensor is that of its moments, which are summed in float64. mergekit sums
    in float32, 1 Mi numbers at a time, in a pass of its own: the last digit of one number in
    100,000 differs. In a small tensor that would be a larger share.
    """
    import torch

    if len(tensors[0]) <= MERGEKIT_CHUNK_NUMBERS:
        cosine = sum_cosine(tensors)
    else:
        cosine = torch.tensor(arc_cosine(moments), dtype=torch.float32)
    place = torch.tensor(t, dtype=torch.float32)
    if cosine.abs() > LINEAR_COSINE:
        base_share, tuned_share = 1 - place, place
    else:
        angle = torch.acos(cosine)
        base_share = torch.sin((1 - place) * angle) / torch.sin(angle)
        tuned_share = torch.sin(place * angle) / torch.sin(angle)

    def merge(parts: Sequence[Any]) -> Any:
        base, tuned = parts
        # Two products and a sum: a fused operation would round differently.
        return torch.mul(base, base_share).add_(torch.mul(tuned, tuned_share))

    return merge


def sum_cosine(tensors: Sequence[Any]) -> Any:
    """Return the cosine of the angle of two flat tensors by sums in float32: a torch scalar."""
    import torch

    units = []
    for tensor in tensors:
        numbers = tensor.float().unsqueeze(0)
        # As mergekit does: norms of chunks, here of one, and the norm of these.
        length = torch.linalg.vector_norm(numbers, dim=1)
        length = torch.linalg.vector_norm(torch.stack([length]), dim=0)
        units.append(numbers.div(torch.where(length > SMALLEST_LENGTH, length, 1)))
    return (units[0] * units[1]).sum(dim=1).clamp(-1, 1)[0]


def arc_cosine(moments: Moments) -> float:
    """Return the cosine of the angle between base and tuned model, seen from 0."""
    base, tuned = math.sqrt(moments.base_square), math.sqrt(moments.squares[0])
    base = base if base > SMALLEST_LENGTH else 1.0
    tuned = tuned if tuned > SMALLEST_LENGTH else 1.0
    return moments.dots[0] / (base * tuned)


def is_interpolated_linearly(moments: Moments) -> bool:
    """Whether slerp interpolates linearly, as both tensors have almost the same direction."""
    return abs(arc_cosine(moments)) > LINEAR_COSINE
