"""A model that cannot run on the GPUs of a job is refused with the sizes before it is loaded."""

import json
from pathlib import Path
from typing import Any

import pytest
from sparse_models import TEACHER_CONFIG

from hala_hpc.engines.generation.model_fit import Gpu, find_engine_misfits, read_memory_requirement
from hala_hpc.engines.generation.settings import EngineSettings

GB = 2**30
H100 = Gpu("NVIDIA H100 80GB HBM3", (9, 0), 80 * GB)
A100 = Gpu("NVIDIA A100-SXM4-40GB", (8, 0), 40 * GB)
#: The shape of the translator, 1.2 billion weights.
TRANSLATOR = {
    "num_hidden_layers": 16,
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "layer_types": (["conv", "conv", "full_attention", "conv"] * 4)[:10] + ["full_attention"] * 6,
    "dtype": "bfloat16",
}
FP8 = {
    "quantization_config": {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
    }
}
INT8 = json.loads(json.dumps(FP8).replace("float", "int"))


def model(folder: Path, config: dict[str, Any], weights_gb: float, files: int = 1) -> Path:
    """A folder with weight files of a size and nothing in them."""
    (folder / "config.json").write_text(json.dumps(config))
    names = [f"model-{number:05d}-of-{files:05d}.safetensors" for number in range(1, files + 1)]
    for name in names:
        with (folder / name).open("wb") as file:
            file.truncate(int(weights_gb * GB) // files)
    index = {"weight_map": {f"layer.{number}": name for number, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    # The same weights in another layout are not loaded.
    (folder / "consolidated.safetensors").write_bytes(b"x")
    return folder


def faults(folder: Path, gpus: list[Gpu] | None, host_gb: float = 64, **settings: Any) -> list[str]:
    """Messages that refuse a model."""
    engine = EngineSettings(**settings)
    need = read_memory_requirement(folder, engine)
    assert need
    return find_engine_misfits(need, engine, gpus, int(host_gb * GB))


def test_the_teacher_in_bf16_takes_four_cards(tmp_path: Path) -> None:
    folder = model(tmp_path, TEACHER_CONFIG, weights_gb=207, files=4)
    assert faults(folder, [H100] * 4, tensor_parallel_size=4) == []
    [fault] = faults(folder, [H100] * 4, tensor_parallel_size=2)
    assert fault == (
        "does not fit: 103.5 GB of weights and 0.5 GB of cache for one row of "
        "engine.max_model_len=4096 on each of 2 GPUs, but NVIDIA H100 80GB HBM3 has 80.0 GB and "
        "engine.gpu_memory_utilization=0.9; set engine.tensor_parallel_size=4 and "
        "resources.gpus_per_node=4"
    )


def test_the_teacher_in_fp8_takes_two_cards(tmp_path: Path) -> None:
    folder = model(tmp_path, TEACHER_CONFIG | FP8, weights_gb=105, files=2)
    settings: dict[str, Any] = {"kv_cache_dtype": "fp8"}
    assert faults(folder, [H100] * 2, tensor_parallel_size=2, **settings) == []
    [fault] = faults(folder, [H100], **settings)
    assert "105.0 GB of weights and 0.5 GB of cache" in fault
    assert "set engine.tensor_parallel_size=2 and" in fault


def test_fp8_is_refused_on_cards_that_cannot_do_it(tmp_path: Path) -> None:
    folder = model(tmp_path, TRANSLATOR | FP8, weights_gb=1.2)
    [fault] = faults(folder, [A100])
    assert fault == (
        "its weights are FP8, but NVIDIA A100-SXM4-40GB has compute capability 8.0 and FP8 needs "
        "8.9 (L4, L40S, H100 or newer); use the model that was not quantized, or request such GPUs"
    )
    assert faults(folder, [H100]) == []


def test_other_quantizations_run_anywhere(tmp_path: Path) -> None:
    assert faults(model(tmp_path, TRANSLATOR | INT8, weights_gb=1.2), [A100]) == []


def test_an_fp8_cache_is_refused_on_the_same_cards(tmp_path: Path) -> None:
    folder = model(tmp_path, TRANSLATOR, weights_gb=2.2)
    [fault] = faults(folder, [A100], kv_cache_dtype="fp8_e4m3")
    assert fault.startswith("engine.kv_cache_dtype=fp8_e4m3, but NVIDIA A100-SXM4-40GB has")
    assert "set engine.kv_cache_dtype=auto" in fault


def test_more_cards_than_are_there_are_refused(tmp_path: Path) -> None:
    folder = model(tmp_path, TRANSLATOR, weights_gb=2.2)
    expected = (
        "engine.tensor_parallel_size=2, but this job sees {} GPUs; set resources.gpus_per_node=2"
    )
    assert faults(folder, [H100], tensor_parallel_size=2) == [expected.format(1)]
    assert faults(folder, [], tensor_parallel_size=2) == [expected.format(0)]


def test_heads_that_cannot_be_shared_are_refused(tmp_path: Path) -> None:
    folder = model(tmp_path, TRANSLATOR, weights_gb=2.2)
    [fault] = faults(folder, [H100] * 3, tensor_parallel_size=3)
    assert fault == (
        "engine.tensor_parallel_size=3 does not divide its 32 attention heads (8 of the cache); "
        "use one of 1, 2, 4, 8, 16"
    )


def test_a_model_too_large_for_any_machine_is_refused_with_a_fix(tmp_path: Path) -> None:
    [fault] = faults(model(tmp_path, TEACHER_CONFIG, weights_gb=2000), [A100])
    assert "no engine.tensor_parallel_size up to 16 is enough" in fault


def test_without_gpus_the_memory_of_the_host_counts(tmp_path: Path) -> None:
    folder = model(tmp_path, TRANSLATOR, weights_gb=2.2)
    assert faults(folder, None) == []
    [fault] = faults(folder, None, host_gb=4, dtype="float32")
    assert fault == (
        "does not fit: 4.4 GB of weights and engine.cpu_cache_gb=1, but this job has 4.0 GB of "
        "memory and no GPU; raise resources.mem_gb or resources.gpus_per_node, or use a smaller "
        "model"
    )


def test_a_checkpoint_of_32_bits_takes_half_of_its_files(tmp_path: Path) -> None:
    folder = model(tmp_path, TRANSLATOR | {"dtype": "float32"}, weights_gb=4.4)
    assert faults(folder, None, host_gb=4) == []


def test_one_row_must_fit_into_the_cache_of_the_host(tmp_path: Path) -> None:
    folder = model(tmp_path, TEACHER_CONFIG, weights_gb=1)
    [fault] = faults(folder, None, max_model_len=65536)
    # 16 full layers of 65,536 tokens and 48 with a window of 4,096, 8 heads of 128 in BF16.
    assert "takes 4.8 GB of cache, but engine.cpu_cache_gb=1; set engine.cpu_cache_gb=4.8" in fault


def test_a_convolution_caches_no_tokens(tmp_path: Path) -> None:
    need = read_memory_requirement(model(tmp_path, TRANSLATOR, weights_gb=2.2), EngineSettings())
    assert need
    # 2 full-attention layers among the first 10 and 6 more: 8 of 16.
    assert need.row_bytes == 8 * 4096 * 2 * 8 * 64 * 2


def test_the_names_that_the_published_translator_uses_are_known(tmp_path: Path) -> None:
    config = TRANSLATOR | {"layer_types": None, "full_attn_idxs": [2, 5, 8, 10, 12, 14]}
    need = read_memory_requirement(model(tmp_path, config, weights_gb=2.2), EngineSettings())
    assert need
    # 12 KiB a token.
    assert need.row_bytes == 4096 * 12 * 2**10


def test_a_latent_cache_is_small_and_whole_on_every_card(tmp_path: Path) -> None:
    config = TEACHER_CONFIG | {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "layer_types": None}
    need = read_memory_requirement(model(tmp_path, config, weights_gb=100), EngineSettings())
    assert need
    assert need.row_bytes == 64 * 4096 * 576 * 2
    assert need.bytes_per_gpu(8) == 100 * GB // 8 + need.row_bytes


def test_a_folder_whose_config_has_no_shape_is_left_to_vllm(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert read_memory_requirement(tmp_path, EngineSettings()) is None


@pytest.mark.parametrize("quantization", [None, {}, {"quant_method": "fp8"}])
def test_fp8_that_vllm_calls_so_is_found(tmp_path: Path, quantization: dict[str, Any]) -> None:
    folder = model(tmp_path, TRANSLATOR | {"quantization_config": quantization}, weights_gb=1.2)
    assert len(faults(folder, [A100])) == (1 if quantization else 0)
