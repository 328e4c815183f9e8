"""The methods of a merge by name, their parameters, and the checks of given parameters.

Names and defaults are those of mergekit 0.1.5, whose `lambda` is `scale` here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import NonNegativeInt, PositiveInt

from hala_hpc.core.settings import StageSettings
from hala_hpc.engines.models.merging.layer_kinds import KINDS
from hala_hpc.engines.models.merging.layer_values import LayerValues, weights_of_models

MethodName = Literal[
    "linear",
    "slerp",
    "nuslerp",
    "task_arithmetic",
    "ties",
    "dare_ties",
    "della",
    "model_stock",
    "karcher",
]
#: Tolerance of the sum of weights, which must be 1.
SUM_TOLERANCE = 1e-6


class Method(NamedTuple):
    """Inputs of a method."""

    parameters: tuple[str, ...]
    """Settings that it reads in addition to the models."""
    min_models: int = 1
    """Allowed numbers of tuned models, without the base."""
    max_models: int | None = None
    is_own: bool = False
    """Whether it is a weighted sum of the tensors, which needs no mergekit."""
    needs_density: bool = False


METHODS: dict[str, Method] = {
    "linear": Method(("t", "weights"), is_own=True),
    "slerp": Method(("t",), max_models=1, is_own=True),
    "nuslerp": Method(("t", "weights"), max_models=2),
    "task_arithmetic": Method(("scale", "weights", "normalize"), is_own=True),
    "ties": Method(("scale", "weights", "normalize", "density"), needs_density=True),
    "dare_ties": Method(("scale", "weights", "normalize", "density", "seed"), needs_density=True),
    "della": Method(
        ("scale", "weights", "normalize", "density", "epsilon", "seed"), needs_density=True
    ),
    "model_stock": Method((), min_models=2),
    "karcher": Method(("max_iterations",)),
}
#: mergekit's default of `normalize`.
NORMALIZED = {"task_arithmetic": False, "ties": True, "dare_ties": False, "della": True}
PARAMETERS = ("t", "weights", "scale", "density", "epsilon", "normalize", "seed", "max_iterations")


class MethodSettings(StageSettings):
    """Method of a merge and its parameters; none: the default of the method."""

    method: MethodName = "slerp"
    """linear: a mean of the weights. slerp: on the arc between base and model. nuslerp: the same
    without a threshold; of two models, the arc between their changes. task_arithmetic: the base
    plus the sum of the models' changes. ties: the same without small changes and those of the
    minority sign. dare_ties: changes are dropped at random and the others rescaled. della: the
    same, with small ones dropped more often. model_stock: a mean whose distance from the base
    follows from the angles between the models. karcher: the mean on the sphere of the models; of
    one model, of it and the base. The paper: slerp."""
    t: LayerValues | None = None
    """Position between the base (0) and the tuned model (1); none: 0.5, the paper's value. For
    slerp, linear, and nuslerp of one model. A table gives kinds of layers values of their own, `{
    attention = 0.3, rest = 0.5 }`, and a list in it is a gradient from the first layer to the last:
    `{ rest = [0, 0.5, 1] }`. The same holds for all values by layers."""
    weights: list[LayerValues] | None = None
    """A weight for each tuned model, in their order. For linear they sum to 1; none: equal weights.
    For task_arithmetic, ties, dare_ties and della they are weights of the changes; none: 1 each."""
    scale: LayerValues | None = None
    """Factor of the summed changes (mergekit's `lambda`); none: 1."""
    density: LayerValues | None = None
    """Share of the changes that is used, above 0 and up to 1; ties, dare_ties and della need it."""
    epsilon: LayerValues | None = None
    """For della: deviation from `density` of the shares of the smallest and the largest changes;
    none: 0.15."""
    normalize: bool | None = None
    """Divide the summed changes by the sum of their weights; none: yes for ties and della."""
    seed: NonNegativeInt | None = None
    """Seed of the random numbers of dare_ties and della; none: 0."""
    max_iterations: PositiveInt | None = None
    """For karcher: maximum number of iterations; none: 10."""

    def values(self) -> dict[str, LayerValues]:
        """Return all values by layers, by their names in messages."""
        found = {name: getattr(self, name) for name in ("t", "scale", "density", "epsilon")}
        found |= {f"weights[{n}]": value for n, value in enumerate(self.weights or [])}
        return {name: value for name, value in found.items() if value is not None}

    def parameters(self, models: int) -> "MergeParameters":
        """Return the parameters with the defaults of the method, for a number of tuned models."""
        weight = 1 / models if self.method == "linear" else 1.0
        weights = self.weights or [LayerValues(rest=weight)] * models
        normalize = self.normalize
        return MergeParameters(
            method=self.method,
            t=self.t or LayerValues(rest=0.5),
            weights=tuple(weights),
            scale=self.scale or LayerValues(rest=1.0),
            density=self.density or LayerValues(rest=1.0),
            epsilon=self.epsilon or LayerValues(rest=0.15),
            normalize=NORMALIZED.get(self.method, False) if normalize is None else normalize,
            seed=self.seed or 0,
            max_iterations=self.max_iterations or 10,
        )


class MergeParameters(NamedTuple):
    """The parameters of a merge, with all defaults filled in."""

    method: str
    t: LayerValues
    weights: tuple[LayerValues, ...]
    scale: LayerValues
    density: LayerValues
    epsilon: LayerValues
    normalize: bool
    seed: int
    max_iterations: int

    @property
    def is_own(self) -> bool:
        """Whether our own arithmetic computes it."""
        return METHODS[self.method].is_own

    def describe(self) -> dict[str, str]:
        """Return the parameters that the method reads, as texts for a table."""
        taken = METHODS[self.method].parameters
        texts = {name: str(getattr(self, name)) for name in taken if name != "weights"}
        if "weights" in taken and len(self.weights) > 1:
            texts["weights"] = "; ".join(map(str, self.weights))
        if self.method == "nuslerp" and len(self.weights) > 1:
            texts.pop("t", None)
        return texts


def method_faults(settings: MethodSettings, models: int) -> list[str]:
    """Return the faults of the parameters for a number of tuned models, a line each."""
    method, name = METHODS[settings.method], settings.method
    faults = []
    if models < method.min_models or (method.max_models and models > method.max_models):
        wanted = f"{method.min_models}" + (
            f" to {method.max_models}" if method.max_models else " or more"
        )
        wanted = "1" if (method.min_models, method.max_models) == (1, 1) else wanted
        faults.append(
            f"model names {models} tuned models, and method={name} takes {wanted} beside the base; "
            "take another method, such as linear"
        )
    for parameter in PARAMETERS:
        if getattr(settings, parameter) is not None and parameter not in method.parameters:
            reads = ", ".join(method.parameters) or "none"
            faults.append(
                f"{parameter} is no parameter of method={name} (it has: {reads}); "
                f"write {parameter}=none"
            )
    return faults or value_faults(settings, models)


def value_faults(settings: MethodSettings, models: int) -> list[str]:
    """Return the faults of the numbers."""
    faults = []
    for name, values in settings.values().items():
        faults += [
            f"{name}.{field}=[]: a gradient needs numbers" for field in values.empty_gradients()
        ]
        for field, number in values.numbers():
            if problem := number_problem(name, number):
                place = name if field == "rest" else f"{name}.{field}"
                faults.append(f"{place}={number:g}: {problem}")
    if METHODS[settings.method].needs_density and settings.density is None:
        faults.append(f"density: method={settings.method} needs it; give density=0.5, for example")
    if settings.method == "nuslerp" and models == 2 and settings.t is not None:
        faults.append("t is of one tuned model; give weights for two, and write t=none")
    if settings.method == "nuslerp" and models == 1 and settings.weights is not None:
        faults.append("weights are of two tuned models; give t for one, and write weights=none")
    return faults or model_weight_faults(settings, models) + epsilon_faults(settings)


def number_problem(name: str, number: float) -> str:
    """Return why a parameter cannot have a value; empty if it can."""
    if not math.isfinite(number):
        return "it must be a finite number"
    if name == "t" and not 0 <= number <= 1:
        return "it must be from 0 (the base) to 1 (the tuned model)"
    if name == "density" and not 0 < number <= 1:
        return "it is the share of the changes that is kept: above 0 and at most 1"
    if name == "epsilon" and not 0 < number < 1:
        return "it must be above 0 and below 1"
    return ""


def model_weight_faults(settings: MethodSettings, models: int) -> list[str]:
    """Return the faults of weights: too many or too few, or another sum than the method needs."""
    if settings.weights is None:
        return []
    if len(settings.weights) != models:
        return [
            f"weights are {len(settings.weights)} and the tuned models {models}; give one for each"
        ]
    for total, kind, depth in weight_sums(settings.weights):
        place = f"for {kind} layers at depth {depth:g}" if is_by_layers(settings.weights) else ""
        if settings.method == "linear" and abs(total - 1) > SUM_TOLERANCE:
            return [
                f"weights sum to {total:g} {place}".rstrip() + "; of method=linear they must sum "
                f"to 1: divide each by {total:g}"
            ]
        divides = settings.method == "nuslerp" or settings.parameters(models).normalize
        if divides and abs(total) <= SUM_TOLERANCE:
            return [f"weights sum to 0 {place}".rstrip() + ", and the method divides by the sum"]
    return []


def is_by_layers(weights: Sequence[LayerValues]) -> bool:
    """Whether any of the weights differs from layer to layer."""
    return any(one.named_kinds or isinstance(one.rest, list) for one in weights)


def weight_sums(weights: Sequence[LayerValues]) -> list[tuple[float, str, float]]:
    """Return the sum of the weights for every kind, at every depth with a number of a gradient."""
    depths = sorted(set().union(*(one.depths() for one in weights)))
    return [
        (sum(weights_of_models(weights, kind, depth)), kind, depth)
        for kind in (*KINDS, "other")
        for depth in depths
    ]


def epsilon_faults(settings: MethodSettings) -> list[str]:
    """Return the faults of della's shares that are outside of the range from 0 to 1."""
    if settings.method != "della" or settings.density is None:
        return []
    epsilon = settings.epsilon or LayerValues(rest=0.15)
    for depth in sorted(epsilon.depths() | settings.density.depths()):
        for kind in (*KINDS, "other"):
            share, spread = settings.density.at(kind, depth), epsilon.at(kind, depth)
            if share < 1 and not spread < share < 1 - spread:
                return [
                    f"density={share:g} and epsilon={spread:g}: density minus and plus epsilon "
                    "must lie between 0 and 1; take a smaller epsilon"
                ]
    return []


def mergekit_parameters(
    parameters: MergeParameters, kind: str, depth: float, ids: Sequence[str]
) -> Mapping[str, Any]:
    """Return the parameters of a tensor by mergekit's names; `ids` are the tuned models'."""
    weights = dict(zip(ids, weights_of_models(parameters.weights, kind, depth), strict=True))
    if parameters.method == "karcher":
        return {"max_iter": parameters.max_iterations}
    if parameters.method == "model_stock":
        return {}
    if parameters.method == "nuslerp":
        return {"weight": weights}
    found: dict[str, Any] = {
        "weight": weights,
        "lambda": parameters.scale.at(kind, depth),
        "density": parameters.density.at(kind, depth),
        "normalize": parameters.normalize,
    }
    if parameters.method == "della":
        found["epsilon"] = parameters.epsilon.at(kind, depth)
    return found
