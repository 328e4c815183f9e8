"""FLOPs of a training step, from the config keys that model makers publish."""

import json
from math import prod
from pathlib import Path

import pytest
from thin_models import make_thin_config

from hala_hpc.engines.models.architecture import flops_per_token
from hala_hpc.engines.models.tensors import tensor_headers

#: Attention layers, of four.
ATTENDING = {"lfm2": 1, "cohere2": 4, "qwen2": 4, "gemma2": 4}


def one_matrix(folder: Path) -> int:
    """Write a weight file with one matrix into a folder; return its number of weights."""
    entry = {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}
    header = json.dumps({"model.layers.0.mlp.up_proj.weight": entry}).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(64)
    (folder / "model.safetensors").write_bytes(data)
    return sum(prod(header.shape) for header in tensor_headers(folder).values())


@pytest.mark.parametrize("family", ATTENDING)
def test_layers_that_attend_count_and_others_do_not(family: str, tmp_path: Path) -> None:
    config = make_thin_config(family, tmp_path)
    weights = one_matrix(tmp_path)
    attended = 12 * ATTENDING[family] * config["hidden_size"] * 100
    assert flops_per_token(tmp_path, 100.0) == 6 * weights + attended
