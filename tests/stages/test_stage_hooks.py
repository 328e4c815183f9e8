"""What every stage must define: its estimate, and settings that use less GPU memory."""

from collections.abc import Iterator
from typing import Any

import pytest
from checkout import ROOT
from pydantic import BaseModel

from hala_hpc.commands.planning.plan_estimate import shipped_throughput
from hala_hpc.core.estimate import (
    Amount,
    CountedResult,
    Estimate,
    EstimateInputs,
    ModelSize,
    TextAmount,
)
from hala_hpc.core.settings import StageSettings, changed_values
from hala_hpc.core.stage import Stage, UnknownInputs
from hala_hpc.core.stage_registry import find_stage, stage_names
from hala_hpc.engines.models.gpus import PEAK_FLOPS, capability_of, has_fp8, peak_flops

#: The required settings of each stage; add new stages here.
MINIMAL_SETTINGS: dict[str, dict[str, Any]] = {
    "prepare": {"data": "@files/rows.jsonl"},
    "quantize": {"model": "@model"},
    "filter": {"model": "@model", "corpus": "@corpus"},
    "translate": {"model": "@model", "corpus": "@corpus"},
    "tokenize": {"model": "@model", "train": "@corpus"},
    "sft": {"model": "@model", "tokens": "@corpus"},
    "merge": {"model": "@model", "base": "@base"},
    "evaluate": {"models": {"one": "@model"}, "translation": "@corpus"},
    "report": {"nodes": ["@corpus"]},
    "sample": {},
    "tiny": {"family": "lfm2", "text": ["@files/rows.jsonl"]},
}
#: 1000 rows of ten tokens per side, and a model of two billion weights.
AMOUNTS = {
    "@corpus": Amount(TextAmount(1000, 10_000, 10_000), None, 100_000.0),
    "@model": Amount(None, ModelSize(2.0), 4e9),
    "@base": Amount(None, ModelSize(2.0), 4e9),
    "@files/rows.jsonl": Amount(None, None, 50_000.0),
}
INPUTS = EstimateInputs(shipped_throughput(), AMOUNTS)
STAGES = [find_stage(name) for name in stage_names()]


def make(name: str, **more: Any) -> Stage[Any]:
    """A stage with its required settings."""
    stage = find_stage(name)
    return stage(stage.Settings.model_validate(MINIMAL_SETTINGS[name] | more), UnknownInputs())


def estimate(name: str, inputs: EstimateInputs = INPUTS, **more: Any) -> Estimate:
    found = make(name, **more).estimate(inputs)
    assert found is not None
    return found


def runtime_counts(settings: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Settings of the number of concurrent rows on a GPU that do not change the result."""
    for name, field in settings.model_fields.items():
        inner, extra = field.annotation, field.json_schema_extra
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from runtime_counts(inner, f"{prefix}{name}.")
            continue
        is_runtime = isinstance(extra, dict) and extra.get("runtime")
        if is_runtime and name.endswith(("batch_size", "num_seqs", "batch_tokens")):
            yield f"{prefix}{name}"


@pytest.mark.parametrize("stage", STAGES, ids=stage_names())
def test_a_stage_has_an_estimate_or_documents_that_it_has_none(stage: type[Stage[Any]]) -> None:
    assert stage.estimate is not Stage.estimate, f"{stage.name} has no estimate"
    found = make(stage.name).estimate(INPUTS)
    if found is None:
        assert (stage.estimate.__doc__ or "").startswith("None: "), (
            "the docstring must give the reason"
        )
    elif stage.name not in ("prepare", "tokenize", "merge", "tiny"):
        assert found.gpu_seconds is not None


@pytest.mark.parametrize("stage", STAGES, ids=stage_names())
def test_a_stage_with_rows_at_once_halves_them_down_to_one(stage: type[Stage[Any]]) -> None:
    settings: StageSettings | None = make(stage.name).settings
    names = set(runtime_counts(stage.Settings))
    if not names:
        assert make(stage.name).smaller_batch(1) is None
        return
    changed: set[str] = set()
    for _ in range(12):
        before = settings
        settings = stage(before, UnknownInputs()).smaller_batch(1)
        assert before is not None
        assert settings is not None
        changes = changed_values(before, settings)
        # Values that a job determines itself are halved there, this many times.
        changed |= {change.name.replace("halvings", "tokens") for change in changes}
        for change in changes:
            if change.name.endswith("halvings"):
                assert change.after == change.before + 1
            else:
                assert change.before is None or change.after == change.before // 2
    assert changes == [], "a single row is at once"
    assert changed == names


def test_a_training_halves_the_tokens_of_a_pass_down_to_about_one_row() -> None:
    sft = make("sft", micro_batch_tokens=100)
    (change,) = changed_values(sft.settings, sft.smaller_batch(2) or sft.settings)
    assert change.text == "micro_batch_tokens is 64 instead of 100"
    smallest = make("sft", micro_batch_tokens=64)
    assert smallest.smaller_batch(2) == smallest.settings


def test_an_evaluation_halves_what_is_above_one() -> None:
    evaluate = make("evaluate", batch_size=1)
    (change,) = changed_values(evaluate.settings, evaluate.smaller_batch(1) or evaluate.settings)
    assert change.text == "engine.max_num_seqs is 128 instead of the engine's default"


def test_what_a_finished_node_counted_is_stronger_than_what_was_expected() -> None:
    table = shipped_throughput()
    expected = estimate("translate")
    assert expected.output.text == TextAmount(1000, 10_000, 12_000)
    assert expected.gpu_seconds == pytest.approx(
        12_000 / table.write.tokens_per_s_of(ModelSize(2.0))
    )
    counted = EstimateInputs(table, AMOUNTS, CountedResult(500, 7_000))
    assert estimate("translate", counted).output.text == TextAmount(500, 5_000, 7_000)
    accepted = estimate("filter", counted).output.text
    assert accepted
    assert (accepted.rows, accepted.source, accepted.target) == pytest.approx((500, 5_000, 5_000))
    unknown = EstimateInputs(table, AMOUNTS | {"@corpus": Amount()}, CountedResult(500, 7_000))
    assert estimate("translate", unknown).output.text == TextAmount(500, 125_000, 7_000)


def test_a_model_of_unknown_size_makes_the_hours_unknown_and_not_the_rows() -> None:
    inputs = EstimateInputs(shipped_throughput(), AMOUNTS | {"@model": Amount(size_bytes=None)})
    found = estimate("translate", inputs)
    assert (found.gpu_seconds, found.model) == (None, None)
    assert found.output.text is not None


def test_a_training_counts_packed_sequences_and_not_their_rows() -> None:
    packed = estimate("tokenize", packing=True, max_length=100).output.text
    assert packed
    assert packed.sequences == packed.source / 100
    inputs = EstimateInputs(shipped_throughput(), AMOUNTS | {"@corpus": Amount(packed)})
    batch = {"global_batch_size": 10}
    epoch = estimate("sft", inputs, **batch)
    steps = estimate("sft", inputs, max_steps=packed.sequences / 10, **batch)
    assert steps.gpu_seconds == pytest.approx(epoch.gpu_seconds)


def test_checkpoints_take_room_unless_only_small_matrices_are_trained() -> None:
    whole = estimate("sft", keep_checkpoints=2)
    # bfloat16, and in float32 a copy and two moments: three checkpoints of seven times the weights.
    assert whole.checkpoint_bytes == 3 * 7 * 4e9
    assert estimate("sft", lora_rank=16).checkpoint_bytes == 0


def test_every_gpu_of_the_table_has_a_known_generation() -> None:
    nvidia = [name for name in PEAK_FLOPS if not name.startswith("MI")]
    assert [name for name in nvidia if capability_of(name) is None] == []
    assert peak_flops("NVIDIA H100 80GB HBM3") == peak_flops("h100") == 9.89e14
    assert (has_fp8("NVIDIA L40S"), has_fp8("NVIDIA A40"), has_fp8("MI300X")) == (True, False, None)


def test_only_the_registry_names_the_packages_of_stages() -> None:
    package = ROOT / "hala_hpc"
    named = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        # Without the dot it is the entry point group.
        for text in ("hala_hpc.stages.", "hala_hpc.stages import", "demo.stages")
        if text in path.read_text(encoding="utf-8")
    ]
    assert named == ["core/stage_registry.py"]
