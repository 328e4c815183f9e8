"""Detect the kernels of a training from its loaded model, as an installed package proves nothing.

Liger patches only the model types that it knows (0.8.5 has no lfm2). transformers uses a package
if it can be imported, and replaces a missing kernel by a slower one.
"""

import logging
import sys
from collections.abc import Iterator
from inspect import getclosurevars
from types import FunctionType
from typing import Any

from hala_hpc.core.record import JsonRecord
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.models.attention import EAGER, FLEX, read_running_attention
from hala_hpc.engines.training.training_run import Training

logger = logging.getLogger(__name__)

LIGER = "liger_kernel"
#: The package of fast convolutions, and the function name in transformers' models.
CONVOLUTIONS, CONVOLUTION_FUNCTION = "causal_conv1d", "causal_conv1d_fn"
TORCH = "torch"


class TrainingKernels(JsonRecord):
    """The kernels that compute the passes of a training."""

    attention: str = ""
    """As transformers names it, e.g. `sdpa`."""
    liger: tuple[str, ...] = ()
    """Parts of the model computed by Liger, e.g. `LigerRMSNorm`."""
    convolutions: str | None = None
    """`causal_conv1d` or `torch`; None for a model without short convolutions, or if unknown."""
    fused_head: bool | None = None
    """Whether TRL's fused head computes the loss, which never holds all logits; None before a
    pass."""


def detect_kernels(model: Any, fused_head: bool | None = None) -> TrainingKernels:
    """Return the kernels of a transformers or peft model, once its training has started."""
    return TrainingKernels(
        attention=read_running_attention(model),
        liger=tuple(sorted(liger_parts(model))),
        convolutions=detect_convolutions(model),
        fused_head=fused_head,
    )


def layer_modules(model: Any) -> list[Any]:
    """Return the Python modules that define the layers of a model and hold their functions."""
    names = dict.fromkeys(type(layer).__module__ for layer in model.modules())
    return [sys.modules[name] for name in names]


def liger_parts(model: Any) -> Iterator[str]:
    """Yield the names of Liger's classes and functions used by the layers of a model."""
    forwards = [getattr(layer.forward, "__func__", layer.forward) for layer in model.modules()]
    called = [one for home in layer_modules(model) for one in vars(home).values()]
    for function in dict.fromkeys([*forwards, *filter(is_function, called)]):
        if is_function(function) and function.__module__.partition(".")[0] == LIGER:
            yield function.__qualname__.partition(".")[0]


def is_function(value: Any) -> bool:
    """Whether a value is a Python function."""
    return isinstance(value, FunctionType)


def detect_convolutions(model: Any) -> str | None:
    """Return what computes short convolutions, from the function in transformers' wrapper."""
    found = (vars(home).get(CONVOLUTION_FUNCTION) for home in layer_modules(model))
    wrapper = next((function for function in found if is_function(function)), None)
    if wrapper is None:
        return None
    used = getclosurevars(wrapper).nonlocals.get("implementation")
    if used is None:
        return None
    return CONVOLUTIONS if used.__module__.partition(".")[0] == CONVOLUTIONS else TORCH


def describe_slow_kernels(
    kernels: TrainingKernels, model_type: str, wants_liger: bool
) -> list[str]:
    """Return a line for each slow GPU kernel that has a faster alternative, with the fix."""
    found = []
    if kernels.convolutions == TORCH:
        # Estimated from the traffic of a depthwise convolution in bfloat16; not measured on a GPU.
        found.append(
            f"{model_type} without {CONVOLUTIONS}: torch's convolutions take 10 to 20 % of a step; "
            "install causal-conv1d in the environment main"
        )
    if wants_liger and not kernels.liger:
        found.append(
            f"liger=true: no effect, Liger is not installed or has no kernels for {model_type}"
        )
    if kernels.attention == EAGER:
        found.append(
            "attention=eager: it stores a number for each pair of tokens; set "
            f"attention={FLEX}, which computes the same in blocks"
        )
    return found


class KernelCallback:
    """Trainer callback that inspects the first pass and logs its kernels."""

    def __init__(self, training: Training, out: UnitContext) -> None:
        self.training, self.out = training, out
        self.kernels = TrainingKernels()
        self.hook: Any = None

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Detect the kernels after Liger's patches; the loss kernel is known in the first pass."""
        del args, state, control
        self.kernels = detect_kernels(model)
        self.hook = model.register_forward_pre_hook(self.inspect_first_pass, with_kwargs=True)

    def inspect_first_pass(self, model: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        """Detect the kernels in the first pass, then remove the hook."""
        import torch

        self.hook.remove()
        self.kernels = detect_kernels(model, fused_head=bool(kwargs.get("fused_lm_head")))
        if self.out.rank != 0:
            return
        logger.info("kernels: %s", self.kernels.line())
        if torch.cuda.is_available():
            wants_liger = self.training.settings.liger
            for line in describe_slow_kernels(self.kernels, model.config.model_type, wants_liger):
                logger.warning("%s", line)
