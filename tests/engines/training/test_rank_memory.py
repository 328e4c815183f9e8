"""GPU memory of a rank: the estimate compared with torch's memory tracker, and its consequences."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from tracked_pass import tracked_pass

from hala_hpc.commands.planning.plan_estimate import shipped_throughput
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.paths import read_toml
from hala_hpc.engines.models.memory import GB
from hala_hpc.engines.models.shape import ModelShape, read_shape
from hala_hpc.engines.training.pass_memory import Pass, activation_bytes
from hala_hpc.engines.training.rank_memory import (
    MAX_PASS_TOKENS,
    TOKEN_MULTIPLE,
    MemoryOption,
    find_fastest_option,
    fitting_micro_batch_tokens,
    rank_memory,
)
from hala_hpc.engines.training.settings import TrainingSettings

SHAPES = shipped_throughput().shapes
SMALL, MIDDLE, LARGE = "LiquidAI/LFM2-350M", "LiquidAI/LFM2-700M", "LiquidAI/LFM2-1.2B"
GEMMA = "QCRI/Fanar-1-9B-Instruct"
#: By how much the estimate may differ from what is tracked.
TOLERANCE = 0.15
H100 = 80 * GB


def shape_of(name: str) -> ModelShape:
    shape = read_shape(SHAPES[name])
    assert shape
    return shape


def require_agreement(config: Mapping[str, Any], work: Pass) -> None:
    shape, tracked = read_shape(config), tracked_pass(config, work)
    assert shape
    assert shape.weights == pytest.approx(tracked.weights, rel=0.001)
    estimated = 2 * work.item * shape.weights + activation_bytes(shape, work)
    assert estimated == pytest.approx(tracked.peak, rel=TOLERANCE), (
        f"{estimated / GB:.2f} GB estimated, {tracked.peak / GB:.2f} GB tracked"
    )


@pytest.mark.slow
def test_the_estimate_is_what_torch_tracks_in_four_layers_of_the_smallest_model() -> None:
    few = {**SHAPES[SMALL], "num_hidden_layers": 4, "full_attn_idxs": [2]}
    require_agreement(few, Pass(8192, 1024))


@pytest.mark.long
# The tracker looks through all modules after each operation: minutes for 42 layers computed twice.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "work"),
    [
        (SMALL, Pass(32768, 4096)),
        (SMALL, Pass(8192, 1024, is_float32=True)),
        (SMALL, Pass(4096, 1024, attention="eager")),
        (MIDDLE, Pass(16384, 4096)),
        (LARGE, Pass(16384, 4096)),
        (LARGE, Pass(16384, 4096, is_checkpointed=True)),
        (GEMMA, Pass(4096, 4096)),
        (GEMMA, Pass(16384, 4096, is_checkpointed=True)),
        (GEMMA, Pass(4096, 1024, is_checkpointed=True, attention="eager")),
    ],
)
def test_the_estimate_of_every_size_is_what_torch_tracks(name: str, work: Pass) -> None:
    require_agreement(SHAPES[name], work)


def model_folder(folder: Path, **changes: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({**SHAPES[LARGE], **changes}))
    return folder


def test_more_memory_lets_more_tokens_into_a_pass(tmp_path: Path) -> None:
    model, settings = model_folder(tmp_path), TrainingSettings(zero_stage=1)
    found = [
        fitting_micro_batch_tokens(model, settings, 16, size * GB) for size in (24, 40, 80, 640)
    ]
    assert found == sorted(set(found)), "each holds more"
    assert found[-1] == MAX_PASS_TOKENS
    assert {tokens % TOKEN_MULTIPLE for tokens in found} == {0}
    taken = rank_memory(shape_of(LARGE), settings, 16, found[2], 4096)
    assert 0.8 * H100 < taken.total <= 0.9 * H100, "a tenth stays free"


@pytest.mark.parametrize(
    "smaller",
    [{"gradient_checkpointing": True}, {"zero_stage": 2}, {"lora_rank": 16}, {"offload": "all"}],
)
def test_what_saves_memory_leaves_more_room_for_tokens(
    tmp_path: Path, smaller: dict[str, Any]
) -> None:
    model, zero = model_folder(tmp_path), {"zero_stage": 3 if "offload" in smaller else 1}
    plain = TrainingSettings.model_validate(zero)
    saving = TrainingSettings.model_validate(zero | smaller)
    tokens = [fitting_micro_batch_tokens(model, one, 2, 40 * GB) for one in (plain, saving)]
    assert tokens[0] < tokens[1]


def test_a_row_that_does_not_fit_is_refused_with_the_settings_and_a_fix(tmp_path: Path) -> None:
    model, settings = model_folder(tmp_path), TrainingSettings(zero_stage=1)
    with pytest.raises(UserError) as caught:
        fitting_micro_batch_tokens(model, settings, 16, 16 * GB, 4096)
    assert caught.value.code == CONFIG
    for part in ("4096 tokens", "16.0 GB", "zero_stage=1", "gradient_checkpointing=false"):
        assert part in str(caught.value)
    assert "set zero_stage=1 and gradient_checkpointing=true" in str(caught.value)
    changed = settings.model_copy(update={"gradient_checkpointing": True})
    assert fitting_micro_batch_tokens(model, changed, 16, 16 * GB, 4096) >= 4096
    with pytest.raises(UserError, match="use more or larger GPUs"):
        fitting_micro_batch_tokens(model, settings, 16, 4 * GB, 4096)


def test_a_row_shorter_than_a_round_number_is_enough(tmp_path: Path) -> None:
    model, settings = model_folder(tmp_path), TrainingSettings(zero_stage=1)
    needed = rank_memory(shape_of(LARGE), settings, 16, 300, 300).total / 0.9
    assert fitting_micro_batch_tokens(model, settings, 16, int(needed) + GB // 64, 300) == 300


def test_a_model_of_experts_is_not_guessed_at(tmp_path: Path) -> None:
    model = model_folder(tmp_path, num_experts=8)
    with pytest.raises(UserError, match="set micro_batch_tokens"):
        fitting_micro_batch_tokens(model, TrainingSettings(), 16, H100)


def test_every_training_of_the_shipped_recipe_fits_and_none_could_be_faster() -> None:
    nodes = read_toml(ROOT / "hala_hpc/recipes/hala.toml")
    ranks = {"sft-9b": 32}
    trained = {name: node for name, node in nodes.items() if name.startswith("sft-")}
    assert len(trained) == 4
    for name, node in trained.items():
        options = nodes["sft-1.2b"] | node
        settings = TrainingSettings(
            zero_stage=options["zero_stage"],
            gradient_checkpointing=options.get("gradient_checkpointing", False),
        )
        shape, own = shape_of(options["model"]), ranks.get(name, 16)
        assert rank_memory(shape, settings, own, 4096, 4096).total < 0.9 * H100
        way = find_fastest_option(shape, settings, own, H100, 4096)
        mine = MemoryOption(settings.zero_stage, settings.gradient_checkpointing)
        assert way
        assert not way.is_faster_than(mine), f"{name}: {way.describe()}"
