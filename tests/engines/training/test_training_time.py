"""GPU hours of a training: by the model's shape, attention, and network traffic."""

from typing import Any

import pytest

from hala_hpc.commands.planning.plan_estimate import shipped_throughput
from hala_hpc.core.estimate import ModelSize
from hala_hpc.core.resources import Resources
from hala_hpc.engines.models.shape import read_shape
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.engines.training.training_time import (
    Cluster,
    TrainedModel,
    TrainingAmount,
    TrainingTime,
    estimate_training_time,
)

TABLE = shipped_throughput()
GEMMA = "QCRI/Fanar-1-9B-Instruct"
#: 100M tokens in rows of 500, eight in each sequence.
AMOUNT = TrainingAmount(1e8, 2e5, 25_000)
SETTINGS = {"global_batch_size": 32, "gradient_checkpointing": True}
#: Of the arithmetic, as activations are computed twice.
RECOMPUTE = TABLE.train.checkpointing_cost


def model(name: str = GEMMA) -> TrainedModel:
    shape = read_shape(TABLE.shapes[name])
    assert shape
    return TrainedModel(ModelSize(shape.weights / 1e9), shape)


def time(
    trained: TrainedModel, nodes: int = 4, amount: TrainingAmount = AMOUNT, **settings: Any
) -> TrainingTime:
    asked = Resources(nodes=nodes, ranks_per_node=8, gpus_per_node=8)
    made = TrainingSettings.model_validate(SETTINGS | settings)
    return estimate_training_time(trained, amount, made, Cluster(asked, "h100", TABLE))[0]


def test_products_follow_from_weights_tokens_and_the_share_of_the_size() -> None:
    gemma, small = time(model()), time(model("LiquidAI/LFM2-350M"))
    weights = model().weights
    flops = RECOMPUTE * 6 * weights * 1e8
    assert gemma.products == pytest.approx(flops / (TABLE.peak_flops * 0.49))
    shares = TABLE.train.peak_share_of(9.2) / TABLE.train.peak_share_of(0.354)
    ratio = weights / model("LiquidAI/LFM2-350M").weights
    assert gemma.products / small.products == pytest.approx(ratio / shares, rel=0.001)


def test_activations_computed_twice_cost_a_third_more() -> None:
    plain, twice = time(model(), gradient_checkpointing=False), time(model())
    assert twice.products == pytest.approx(1.333 * plain.products)
    assert twice.attention == pytest.approx(1.333 * plain.attention)
    # A pass holds a row of 4,000 tokens only without stored activations.
    assert twice.network < plain.network


def test_zero_3_sends_half_as_much_more_and_hides_a_part() -> None:
    first, second, third = (time(model(), zero_stage=stage) for stage in (1, 2, 3))
    assert first.network == pytest.approx(second.network)
    arithmetic = third.products + third.attention
    assert third.network == pytest.approx(1.5 * first.network - 0.5 * arithmetic)
    # 4 bytes for each weight at 40 GB/s, on 32 GPUs in each of 781 steps.
    assert first.network == pytest.approx(25_000 / 32 * 4 * model().weights / 4e10 * 32)


def test_several_passes_a_step_send_more_with_cut_gradients() -> None:
    long = TrainingAmount(4e8, 2e5, 25_000)
    first, second = (
        time(model(), amount=long, zero_stage=stage, global_batch_size=1024) for stage in (1, 2)
    )
    assert first.network < second.network


def test_a_machine_alone_sends_faster_and_a_gpu_alone_nothing() -> None:
    assert time(model(), nodes=1).network < time(model(), nodes=4).network / 7
    made = TrainingSettings(global_batch_size=32)
    alone = Cluster(Resources(gpus_per_node=1), "h100", TABLE)
    assert estimate_training_time(model(), AMOUNT, made, alone)[0].network == 0


def test_longer_rows_take_more_attention() -> None:
    longer = time(model(), amount=AMOUNT._replace(rows=5e4))
    assert longer.products == time(model()).products
    assert longer.attention > 3 * time(model()).attention


def test_without_a_shape_the_number_of_weights_counts() -> None:
    found = time(TrainedModel(ModelSize(9.0), None))
    assert found.attention == 0
    assert found.products == pytest.approx(RECOMPUTE * 6 * 9e9 * 1e8 / (TABLE.peak_flops * 0.49))


def test_lora_reckons_no_gradients_of_weights_and_sends_none() -> None:
    whole, lora = time(model(), zero_stage=1), time(model(), zero_stage=1, lora_rank=16)
    assert lora.products == pytest.approx(whole.products * 2 / 3)
    assert lora.network == 0


def test_the_description_names_every_part() -> None:
    asked = Resources(nodes=4, ranks_per_node=8, gpus_per_node=8)
    made = TrainingSettings.model_validate({**SETTINGS, "zero_stage": 2})
    text = estimate_training_time(model(), AMOUNT, made, Cluster(asked, "h100", TABLE))[1]
    for part in (
        "100M training tokens",
        "h of products",
        "49% of the peak",
        "attention",
        "37 GB by each",
    ):
        assert part in text
