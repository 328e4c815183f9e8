"""The shape of a model is read from its config.json, and its weights and FLOPs follow."""

from typing import Any

import pytest

from hala_hpc.commands.planning.plan_estimate import shipped_throughput
from hala_hpc.engines.models.shape import ModelShape, read_shape

QWEN = {
    "model_type": "qwen2",
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}


def shape(config: dict[str, Any], **changes: Any) -> ModelShape:
    found = read_shape({**config, **changes})
    assert found
    return found


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("LiquidAI/LFM2-350M", 0.354),
        ("LiquidAI/LFM2-700M", 0.742),
        ("LiquidAI/LFM2-1.2B", 1.170),
        ("QCRI/Fanar-1-9B-Instruct", 9.241),
    ],
)
def test_the_shipped_shapes_have_the_weights_that_their_makers_publish(
    name: str, billions: float
) -> None:
    found = read_shape(shipped_throughput().shapes[name])
    assert found
    assert found.weights / 1e9 == pytest.approx(billions, abs=0.001)


def test_the_width_of_lfm2_is_adjusted_as_transformers_does() -> None:
    lfm2 = dict(shipped_throughput().shapes["LiquidAI/LFM2-1.2B"])
    keys = {"block_ff_dim": 12288, "block_auto_adjust_ff_dim": True, "block_multiple_of": 256}
    assert shape(lfm2, **keys).intermediate == 8192
    assert shape(lfm2).intermediate == 8192
    assert (shape(lfm2).attentions, shape(lfm2).convolutions) == (6, 10)


def test_a_head_of_its_own_is_counted() -> None:
    tied, untied = shape(QWEN), shape(QWEN, tie_word_embeddings=False)
    assert untied.weights - tied.weights == 151936 * 2048
    assert untied.matrices == tied.matrices


def test_attention_costs_more_in_longer_rows_and_less_in_a_window() -> None:
    plain = shape(QWEN)
    short, long = plain.training_flops(400), plain.training_flops(4000)
    assert short == pytest.approx(6 * plain.matrices, rel=0.03)
    assert long - short == 12 * 36 * 2048 * (4000 - 400) / 2
    kinds = ["sliding_attention", "full_attention"] * 18
    windowed = shape(QWEN, layer_types=kinds, sliding_window=512)
    assert 6 * plain.matrices < windowed.training_flops(4000) < long


@pytest.mark.parametrize(
    "changes", [{"num_experts": 8}, {"vocab_size": None}, {"layer_types": ["mamba"] * 36}]
)
def test_what_is_no_dense_model_of_known_layers_has_no_shape(changes: dict[str, Any]) -> None:
    assert read_shape({**QWEN, **changes}) is None


def test_the_text_half_of_a_model_with_pictures_counts() -> None:
    inner = {key: value for key, value in QWEN.items() if key != "model_type"}
    assert shape({"model_type": "some_vl", "text_config": inner}).hidden == 2048
