"""An engine is refused, or started with the options of settings and machine."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.out_of_memory import is_gpu_out_of_memory
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.generation.vllm.startup import compile_facts, engine_options, start_engine

#: vLLM and transformers take seconds to import.
pytestmark = pytest.mark.slow

GRAPH_SIZE = "max_cudagraph_capture_size"
CONFIG_JSON = {
    "model_type": "qwen2",
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder with the shape of a model and 1 MiB of weights that are nothing."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG_JSON))
    (tmp_path / "model.safetensors").write_bytes(bytes(2**20))
    return str(tmp_path)


def test_the_context_is_no_longer_than_the_model_allows(model: str) -> None:
    assert engine_options(model, EngineSettings(), True)["max_model_len"] == 512
    assert engine_options(model, EngineSettings(max_model_len=100), True)["max_model_len"] == 100


def test_cpus_run_eagerly_and_gpus_compile_by_default(model: str) -> None:
    def eager(on_cpu: bool, **settings: Any) -> bool:
        options = engine_options(model, EngineSettings(**settings), on_cpu)
        return bool(options["enforce_eager"])

    assert [eager(True), eager(False)] == [True, False]
    assert [eager(True, enforce_eager=False), eager(False, enforce_eager=True)] == [False, True]


def test_sizes_that_are_not_set_are_left_to_vllm(model: str) -> None:
    options = engine_options(model, EngineSettings(max_num_seqs=7), False)
    assert options["max_num_seqs"] == 7
    assert not {"max_num_batched_tokens", "kv_cache_memory_bytes"} & set(options)


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(model: str) -> None:
    with pytest.raises(UserError, match=r"does not fit: .* and engine\.cpu_cache_gb=1e\+06") as e:
        start_engine(model, EngineSettings(cpu_cache_gb=1e6))
    assert e.value.code == CONFIG


def test_a_refusal_names_every_mistake(model: str) -> None:
    settings = EngineSettings(cpu_cache_gb=1e6, tensor_parallel_size=3)
    with pytest.raises(UserError) as e:
        start_engine(model, settings)
    assert len(e.value.mistakes) == 2
    assert all(mistake.startswith(f"model={model}: ") for mistake in e.value.mistakes)


def test_what_shapes_the_code_is_distinguished(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def facts(**settings: Any) -> dict[str, Any]:
        options = engine_options(model, EngineSettings(**settings), False)
        return compile_facts(options, None)

    assert facts() == facts(seed=7, gpu_memory_utilization=0.5, temperature=1)
    assert facts() != facts(max_num_seqs=7)
    before = facts()
    monkeypatch.setenv("VLLM_USE_STANDALONE_COMPILE", "0")
    assert facts() != before
    assert any(line.startswith(("flags", "Features")) for line in before["processor"])


def test_an_engine_in_a_process_of_its_own_stays_so(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vllm

    monkeypatch.setattr(vllm, "LLM", SimpleNamespace)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    start_engine(model, EngineSettings(cpu_cache_gb=0.1))
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "1"
    monkeypatch.delenv("VLLM_ENABLE_V1_MULTIPROCESSING")
    start_engine(model, EngineSettings(cpu_cache_gb=0.1))
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"


def test_an_engine_that_does_not_start_leaves_no_cache(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    import vllm

    def fail(**_: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(vllm, "LLM", fail)
    with pytest.raises(RuntimeError):
        start_engine(model, EngineSettings(cpu_cache_gb=0.1, enforce_eager=False))
    assert not list(tmp_path.glob("hala-compiled-*"))


def test_a_gpu_without_memory_is_distinguished_from_other_failures() -> None:
    import torch
    from vllm.v1.engine.exceptions import EngineDeadError

    tail = (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
        "capacity of 79.11 GiB of which 1.09 GiB is free."
    )
    assert is_gpu_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"), "")
    assert is_gpu_out_of_memory(RuntimeError("CUDA error: out of memory"), "")
    assert is_gpu_out_of_memory(EngineDeadError(), tail)
    assert not is_gpu_out_of_memory(EngineDeadError(), "the engine's process was killed")
    assert not is_gpu_out_of_memory(ValueError("of another kind"), tail)
    assert not is_gpu_out_of_memory(MemoryError("out of memory"), "")


def test_the_installed_vllm_records_sizes_up_to_the_last_row(model: str) -> None:
    from vllm.config import CompilationConfig, CUDAGraphMode, VllmConfig

    def options(on_cpu: bool, **more: Any) -> dict[str, Any]:
        settings = EngineSettings(max_num_seqs=1000, max_num_batched_tokens=16384, **more)
        return engine_options(model, settings, on_cpu)

    assert GRAPH_SIZE not in options(True)
    assert GRAPH_SIZE not in options(False, enforce_eager=True)
    on_gpu = options(False)

    def recorded(**size: int) -> list[int]:
        compilation = CompilationConfig(cudagraph_mode=CUDAGraphMode.PIECEWISE, **size)
        made = SimpleNamespace(
            model_config=SimpleNamespace(enforce_eager=False),
            compilation_config=compilation,
            scheduler_config=SimpleNamespace(
                max_num_seqs=on_gpu["max_num_seqs"],
                max_num_batched_tokens=on_gpu["max_num_batched_tokens"],
            ),
            speculative_config=None,
            uniform_decode_query_len=1,
            performance_mode="balanced",
        )
        VllmConfig._set_cudagraph_sizes(made)
        return list(compilation.cudagraph_capture_sizes)

    assert max(recorded()) == 512, "what vLLM takes by itself"
    assert max(recorded(**{GRAPH_SIZE: on_gpu[GRAPH_SIZE]})) >= 1000
