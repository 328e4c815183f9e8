"""A number of a merge that may differ by kind of layer and by depth."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from hala_hpc.core.settings import TableOrValue
from hala_hpc.engines.models.merging.layer_kinds import KINDS

Gradient = float | list[float]
"""A number, or several over the depth: the first for the first layer, the last for the last."""


class LayerValues(TableOrValue):
    """A number for each kind of layer; a single number, or gradient, holds for all of them."""

    single: ClassVar[str] = "rest"

    attention: Gradient | None = None
    """Projections of attention, with their biases."""
    feed_forward: Gradient | None = None
    """The feed-forward half of a layer."""
    conv: Gradient | None = None
    """Short convolutions (LFM2)."""
    norm: Gradient | None = None
    """All norms, those of queries and keys and the last one included."""
    embedding: Gradient | None = None
    """The table of the tokens, and the output layer."""
    rest: Gradient
    """All other tensors."""

    def at(self, kind: str, depth: float) -> float:
        """Return the value for a kind of layer at a depth from 0 (first layer) to 1 (last layer).

        Between two numbers of a gradient it is interpolated linearly, as in mergekit.
        """
        chosen = getattr(self, kind, None) if kind in KINDS else None
        return interpolate(self.rest if chosen is None else chosen, depth)

    @property
    def named_kinds(self) -> tuple[str, ...]:
        """Return the kinds with a value of their own."""
        return tuple(kind for kind in KINDS if getattr(self, kind) is not None)

    def numbers(self) -> Iterator[tuple[str, float]]:
        """Return every number with the name of its field."""
        for field in (*self.named_kinds, "rest"):
            value = getattr(self, field)
            for number in value if isinstance(value, list) else [value]:
                yield field, number

    def empty_gradients(self) -> list[str]:
        """Return the fields that are a gradient without numbers."""
        return [field for field in (*KINDS, "rest") if getattr(self, field) == []]

    def depths(self) -> set[float]:
        """Return the depths at which a gradient has a number: between them it is linear."""
        found = {0.0, 1.0}
        for field in (*self.named_kinds, "rest"):
            value = getattr(self, field)
            if isinstance(value, list) and len(value) > 1:
                found |= {number / (len(value) - 1) for number in range(len(value))}
        return found

    def __str__(self) -> str:
        if not self.named_kinds:
            return format_gradient(self.rest)
        fields = (*self.named_kinds, "rest")
        return ", ".join(f"{field} {format_gradient(getattr(self, field))}" for field in fields)


def interpolate(value: Gradient, depth: float) -> float:
    """Return the value of a gradient at a depth from 0 to 1."""
    if not isinstance(value, list):
        return value
    place = depth * (len(value) - 1)
    before = int(place)
    after, share = min(len(value) - 1, before + 1), place - before
    return (1 - share) * value[before] + share * value[after]


def format_gradient(value: Gradient) -> str:
    """`0.5`, or `[0, 0.5, 1]`."""
    if not isinstance(value, list):
        return f"{value:g}"
    return f"[{', '.join(f'{number:g}' for number in value)}]"


def weights_of_models(weights: Sequence[LayerValues], kind: str, depth: float) -> list[float]:
    """Return the weight of each model for a kind of layer at a depth."""
    return [one.at(kind, depth) for one in weights]
