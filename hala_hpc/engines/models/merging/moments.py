"""Lengths and products of a tensor of the base and those of the tuned models."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

#: Numbers that are taken at once: 1 MiB in float32, which a core's cache holds.
CHUNK_NUMBERS = 2**18


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


def iter_chunks(tensors: Sequence[Any]) -> Iterator[list[Any]]:
    """Parts of flat torch tensors of one length, in float32."""
    for begin in range(0, len(tensors[0]), CHUNK_NUMBERS):
        yield [tensor[begin : begin + CHUNK_NUMBERS].float() for tensor in tensors]


def measure_moments(tensors: Sequence[Any]) -> Moments:
    """Moments of flat torch tensors, that of the base first; not finite where a number is not."""
    import torch

    models = len(tensors) - 1
    base_square, squares = 0.0, [0.0] * models
    dots, changes = [0.0] * models, [0.0] * models
    for base, *tuned in iter_chunks(tensors):
        base_square += torch.dot(base, base).item()
        for number, chunk in enumerate(tuned):
            squares[number] += torch.dot(chunk, chunk).item()
            dots[number] += torch.dot(base, chunk).item()
            # Not in place: a part of a float32 tensor is the tensor itself.
            change = torch.sub(chunk, base)
            changes[number] += torch.dot(change, change).item()
    return Moments(len(tensors[0]), base_square, tuple(squares), tuple(dots), tuple(changes))
