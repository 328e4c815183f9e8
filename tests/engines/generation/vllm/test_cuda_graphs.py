"""CUDA graphs of vLLM reach as many rows as are generated at once."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.generation.vllm.startup import engine_options, graph_options

SIZE = "max_cudagraph_capture_size"


@pytest.mark.parametrize(
    ("settings", "reach"),
    [
        ({}, None),
        ({"max_num_seqs": 512}, None),
        ({"max_num_seqs": 1024}, 1024),
        ({"max_num_seqs": 1000}, 1008),
        ({"max_num_seqs": 1024, "cuda_graph_rows": 256}, 256),
        ({"cuda_graph_rows": 100}, 104),
    ],
)
def test_graphs_reach_the_rows_that_run_at_once(
    settings: dict[str, int], reach: int | None
) -> None:
    assert graph_options(EngineSettings.model_validate(settings)).get(SIZE) == reach


@pytest.mark.slow
def test_the_installed_vllm_records_sizes_up_to_the_last_row(tmp_path: Path) -> None:
    from vllm.config import CompilationConfig, CUDAGraphMode, VllmConfig

    config = {"model_type": "qwen2", "hidden_size": 64, "num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_attention_heads": 2}))

    def options(on_cpu: bool, **more: Any) -> dict[str, Any]:
        settings = EngineSettings(max_num_seqs=1000, max_num_batched_tokens=16384, **more)
        return engine_options(str(tmp_path), settings, on_cpu)

    assert SIZE not in options(True)
    assert SIZE not in options(False, enforce_eager=True)
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
    assert max(recorded(**{SIZE: on_gpu[SIZE]})) >= 1000
