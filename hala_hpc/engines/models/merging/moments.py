"""Lengths and products of a tensor of the base and those of the tuned models."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from hala_hpc.engines.models.merging.chunk_workers import ChunkWorkers


class Moments(NamedTuple):
    """Sums over a tensor, or over several of them; one for each tuned model, summed in float64."""

    weights: int
    base_square: float
    """Squared length of the base."""
    squares: tuple[float, ...]
    """Squared length of each tuned model."""
    dots: tuple[float, ...]
    """Scalar product of the base with each."""
    changes: tuple[float, ...]
    """Squared length of the difference of each from the base."""

    def __add__(self, other: "Moments") -> "Moments":  # type: ignore[override]
        return Moments(
            self.weights + other.weights,
            self.base_square + other.base_square,
            add_each(self.squares, other.squares),
            add_each(self.dots, other.dots),
            add_each(self.changes, other.changes),
        )

    def angle_degrees(self, model: int) -> float:
        """Angle between base and a tuned model, seen from 0; 0 where one of them is 0.

        By the chord between both on the unit sphere: the arc cosine of a product near 1 is noise.
        """
        base, tuned = math.sqrt(self.base_square), math.sqrt(self.squares[model])
        if not base or not tuned:
            return 0.0
        chord = max(0.0, self.changes[model] - (base - tuned) ** 2) / (base * tuned)
        return math.degrees(2 * math.asin(min(1.0, math.sqrt(chord) / 2)))

    def relative_change(self, model: int) -> float:
        """Length of the difference from the base by that of the base; 0 for a base of zeros."""
        return math.sqrt(self.changes[model] / self.base_square) if self.base_square else 0.0


def empty_moments(models: int) -> Moments:
    """Those of no tensor."""
    none = (0.0,) * models
    return Moments(0, 0.0, none, none, none)


def add_each(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    """Sums of two lists, number by number."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def measure_moments(tensors: Sequence[Any], workers: ChunkWorkers) -> Moments:
    """Moments of flat torch tensors, that of the base first; not finite where a number is not."""
    moments = empty_moments(len(tensors) - 1)
    for part in workers.map(measure_part, tensors):
        moments += part
    return moments


def measure_part(parts: Sequence[Any]) -> Moments:
    """Moments of parts in float32."""
    import torch

    base, *tuned = parts
    # Not in place: a part of a float32 tensor is the tensor itself.
    changes = [torch.sub(part, base) for part in tuned]
    return Moments(
        len(base),
        torch.dot(base, base).item(),
        tuple(torch.dot(part, part).item() for part in tuned),
        tuple(torch.dot(base, part).item() for part in tuned),
        tuple(torch.dot(change, change).item() for change in changes),
    )
