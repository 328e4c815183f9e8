"""Models of any size that take no disk space: valid headers and sparse files."""

import json
from pathlib import Path
from typing import Any

#: The shape of the recipe's teacher, 111 billion weights.
TEACHER_CONFIG = {
    "architectures": ["Cohere2ForCausalLM"],
    "model_type": "cohere2",
    "num_hidden_layers": 64,
    "hidden_size": 12288,
    "num_attention_heads": 96,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "sliding_window": 4096,
    "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 16,
    "max_position_embeddings": 131072,
    "vocab_size": 256000,
    "dtype": "bfloat16",
}
TEACHER_BYTES = 222 * 10**9


def sparse_model(folder: Path, size_bytes: int, config: dict[str, Any], files: int = 3) -> Path:
    """Make a model folder with BF16 weights of a total size."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    names = [f"model-{number:05d}-of-{files:05d}.safetensors" for number in range(1, files + 1)]
    each = size_bytes // files // 2 * 2
    for number, name in enumerate(names):
        entry = {"dtype": "BF16", "shape": [each // 2], "data_offsets": [0, each]}
        header = json.dumps({f"layer.{number}": entry}).encode()
        with (folder / name).open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + each)
    places = {f"layer.{number}": name for number, name in enumerate(names)}
    index = {"metadata": {"total_size": each * files}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def fetched_model(hub: Path, name: str, size_bytes: int, config: dict[str, Any]) -> Path:
    """Put such a model into the hub cache under HF_HOME=`hub`; return its snapshot."""
    repository = hub / "hub" / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abc")
    return sparse_model(repository / "snapshots" / "0123abc", size_bytes, config)
