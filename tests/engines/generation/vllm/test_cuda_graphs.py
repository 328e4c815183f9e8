"""CUDA graphs of vLLM reach as many rows as are generated at once."""

import pytest

from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.generation.vllm.startup import graph_options


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
    assert (
        graph_options(EngineSettings.model_validate(settings)).get("max_cudagraph_capture_size")
        == reach
    )
