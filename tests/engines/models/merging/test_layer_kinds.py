"""Kinds of layers and depths of a schedule, by the tensors that they touch."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from merge_parents import tuned_copy
from plain_out import PlainInputs, run_plain
from thin_models import make_thin_model

from hala_hpc.core.stage import Stage
from hala_hpc.engines.models.tensors import iter_tensors

FAMILIES = ("lfm2", "qwen2", "gemma2", "cohere2")
#: Endings of the modules of each kind, as the makers' checkpoints have them.
MODULES = {
    "attention": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                  "self_attn.out_proj"),
    "feed_forward": ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "feed_forward.w1",
                     "feed_forward.w2", "feed_forward.w3"),
    "conv": ("conv.conv", "conv.in_proj", "conv.out_proj"),
    "norm": ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
             "post_feedforward_layernorm", "model.norm", "operator_norm", "ffn_norm",
             "q_layernorm", "k_layernorm", "embedding_norm"),
    "embedding": ("embed_tokens", "lm_head"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and a tuned model of each family, of a few layers."""
    folder = tmp_path_factory.mktemp("kinds")
    for family in FAMILIES:
        base = make_thin_model(family, folder / family, torch_dtype="float32")
        tuned_copy(base, folder / f"{family}-tuned", seed=1)
    return folder


def shares(folder: Path, family: str, out: Path, t: dict[str, Any]) -> dict[str, float]:
    """How far each tensor of a linear merge is from the base to the tuned model."""
    settings = {
        "base": str(folder / family),
        "model": str(folder / f"{family}-tuned"),
        "method": "linear",
        "t": t,
        "try_with": [],
    }
    merged = dict(iter_tensors(run_plain("merge", settings, out).folder(0)))
    tuned = dict(iter_tensors(folder / f"{family}-tuned"))
    found = {}
    for name, tensor in iter_tensors(folder / family):
        found[name] = float((merged[name] - tensor).norm() / (tuned[name] - tensor).norm())
    return found


def kind_of(name: str) -> str:
    module = name.removesuffix(".weight").removesuffix(".bias")
    (kind,) = [kind for kind, ends in MODULES.items() if module.endswith(ends)]
    return kind


def preflight(folder: Path, family: str, **more: Any) -> list[str]:
    kind: type[Stage[Any]] = import_module("hala_hpc.stages.merge").STAGE
    settings = {"base": str(folder / family), "model": str(folder / f"{family}-tuned")}
    return kind(kind.Settings.model_validate(settings | more), PlainInputs()).preflight()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_schedule_touches_the_tensors_of_its_kind_and_no_other(
    family: str, folder: Path, tmp_path: Path
) -> None:
    values = {"attention": 0.1, "feed_forward": 0.3, "norm": 0.5, "embedding": 0.7}
    values |= {"conv": 0.9} if family == "lfm2" else {}
    found = shares(folder, family, tmp_path, {**values, "rest": 0})
    assert {kind_of(name) for name in found} == values.keys()
    for name, share in found.items():
        assert share == pytest.approx(values[kind_of(name)], abs=2e-3), name


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_gradient_goes_from_the_first_layer_to_the_last(
    family: str, folder: Path, tmp_path: Path
) -> None:
    found = shares(folder, family, tmp_path, {"attention": 0.5, "rest": [0.2, 1.0]})
    numbers = {name: int(name.split(".")[2]) for name in found if ".layers." in name}
    last = max(numbers.values())
    for name, share in found.items():
        wanted = 0.2 + 0.8 * numbers.get(name, 0) / last
        wanted = 0.5 if kind_of(name) == "attention" else wanted
        assert share == pytest.approx(wanted, abs=2e-3), name


@pytest.mark.slow
def test_a_kind_that_hits_no_tensor_is_refused(folder: Path) -> None:
    assert preflight(folder, "qwen2", t={"conv": 0.3, "rest": 0.5}) == [
        "t.conv: a model of the type 'qwen2' has no such tensor, only attention, feed_forward, "
        "norm, embedding; remove t.conv"
    ]
    assert preflight(folder, "lfm2", t={"conv": 0.3, "rest": 0.5}) == []
