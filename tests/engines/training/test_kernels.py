"""Kernels are detected by what a loaded model calls, not by what is installed."""

import sys
from types import ModuleType
from typing import Any

import pytest
from random_models import random_lfm2

from hala_hpc.engines.training.kernels import TrainingKernels, describe_slow_kernels, detect_kernels


def module_of(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of another package, as it would be imported."""
    made = ModuleType(name)
    exec(code, vars(made))
    monkeypatch.setitem(sys.modules, name, made)
    return made


@pytest.fixture(scope="module")
def lfm2(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(random_lfm2(tmp_path_factory.mktemp("kernels")))


def test_a_model_as_it_is_loaded_runs_what_transformers_and_torch_have(lfm2: Any) -> None:
    assert detect_kernels(lfm2) == TrainingKernels(attention="sdpa", convolutions="torch")


def test_parts_that_liger_computes_are_found_in_layers_and_in_what_they_call(
    lfm2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.lfm2 import modeling_lfm2

    # As Liger patches a model: methods bound to layers, functions put into their module.
    norms = module_of(
        "liger_kernel.transformers.rms_norm",
        "class LigerRMSNorm:\n def forward(self, x): return x\n",
        monkeypatch,
    )
    rope = module_of(
        "liger_kernel.transformers.rope", "def liger_rotary_pos_emb(q, k): return q, k", monkeypatch
    )
    layer = lfm2.model.layers[0].ffn_norm
    monkeypatch.setitem(vars(layer), "forward", norms.LigerRMSNorm.forward.__get__(layer))
    monkeypatch.setattr(modeling_lfm2, "apply_rotary_pos_emb", rope.liger_rotary_pos_emb)
    # One that exists and that no layer calls.
    module_of("liger_kernel.transformers.geglu", "def geglu(x): return x", monkeypatch)
    assert detect_kernels(lfm2).liger == ("LigerRMSNorm", "liger_rotary_pos_emb")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def causal_conv1d_fn(x, weight, bias=None, seq_idx=None): return x", "causal_conv1d"),
        # One that cannot be used: transformers uses its own.
        ("", "torch"),
    ],
)
def test_fast_convolutions_are_detected_by_the_function_that_transformers_calls(
    code: str, expected: str, lfm2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.integrations.hub_kernels import use_kernel_func_from_hub_with_fallback
    from transformers.models.lfm2 import modeling_lfm2

    module_of("causal_conv1d", code, monkeypatch)
    wrap = use_kernel_func_from_hub_with_fallback("causal_conv1d_fn", "causal_conv1d")
    own = modeling_lfm2.causal_conv1d_fn.__wrapped__
    monkeypatch.setattr(modeling_lfm2, "causal_conv1d_fn", wrap(own))
    assert detect_kernels(lfm2).convolutions == expected


def test_a_slow_kernel_is_reported_with_its_fix() -> None:
    slow = TrainingKernels(attention="eager", convolutions="torch", fused_head=True)
    lines = describe_slow_kernels(slow, "lfm2", wants_liger=True)
    for line, fix in zip(
        lines, ("install causal-conv1d", "no kernels for lfm2", "flex_attention"), strict=True
    ):
        assert fix in line
    liger = ("LigerRMSNorm",)
    quick = TrainingKernels(attention="flash_attention_2", liger=liger, convolutions=None)
    assert describe_slow_kernels(quick, "gemma2", wants_liger=True) == []
    assert (
        describe_slow_kernels(TrainingKernels(attention="sdpa"), "qwen2", wants_liger=False) == []
    )
