"""A base and a tuned model of random weights in the shape of Qwen2, a file for each layer."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hala_hpc.engines.models.files import TensorHeader
from hala_hpc.engines.models.merging.checkpoint_writer import INDEX_FILE, encode_header, shard_name

#: Random numbers, of which every tensor uses a different part: drawing billions would take minutes.
POOL_NUMBERS = 2**23
SPREAD = 0.02


class PairShape(NamedTuple):
    """Widths of a model; heads are 128 wide, and two of them have keys and values."""

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    changed_layers: int
    """Layers with weights of their own in the tuned model, beside the embedding; files of the
    others are hard links, so that the disk has little more than one model."""

    @property
    def config(self) -> dict[str, Any]:
        """Return the content of config.json."""
        return {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "vocab_size": self.vocabulary,
            "num_attention_heads": self.hidden // 128,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "dtype": "bfloat16",
        }


SHAPES = {
    "1b": PairShape(14, 2048, 8192, 65536, 14),
    # That of Qwen2.5-3B.
    "3b": PairShape(36, 2048, 11008, 151936, 3),
}


def tensor_shapes(shape: PairShape) -> Iterator[dict[str, tuple[int, ...]]]:
    """Return names and shapes of the tensors of each file: embedding and last norm, then layers."""
    wide, narrow = shape.hidden, 256
    yield {"model.embed_tokens.weight": (shape.vocabulary, wide), "model.norm.weight": (wide,)}
    for number in range(shape.layers):
        tensors = {
            "self_attn.q_proj.weight": (wide, wide),
            "self_attn.q_proj.bias": (wide,),
            "self_attn.k_proj.weight": (narrow, wide),
            "self_attn.k_proj.bias": (narrow,),
            "self_attn.v_proj.weight": (narrow, wide),
            "self_attn.v_proj.bias": (narrow,),
            "self_attn.o_proj.weight": (wide, wide),
            "mlp.gate_proj.weight": (shape.intermediate, wide),
            "mlp.up_proj.weight": (shape.intermediate, wide),
            "mlp.down_proj.weight": (wide, shape.intermediate),
            "input_layernorm.weight": (wide,),
            "post_attention_layernorm.weight": (wide,),
        }
        yield {f"model.layers.{number}.{name}": size for name, size in tensors.items()}


def make_pair(shape: PairShape, base: Path, tuned: Path) -> None:
    """Write both models. They need the space of one model and the changed files of the other."""
    import torch

    draw = torch.Generator().manual_seed(0)
    for folder in (base, tuned):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(shape.config))
        files = list(tensor_shapes(shape))
        weight_map: dict[str, str] = {}
        for number, tensors in enumerate(files):
            name = shard_name(number, len(files))
            weight_map |= dict.fromkeys(tensors, name)
            if folder == tuned and number > shape.changed_layers:
                os.link(base / name, tuned / name)
            else:
                write_file(folder / name, tensors, draw)
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / INDEX_FILE).write_text(json.dumps(index))


def write_file(path: Path, tensors: Mapping[str, tuple[int, ...]], draw: Any) -> None:
    """Write one file of random tensors in bfloat16."""
    import torch

    pool = (torch.randn(POOL_NUMBERS, generator=draw) * SPREAD).to(torch.bfloat16)
    data = memoryview(pool.view(torch.uint8).numpy())
    with path.open("wb") as file:
        headers = {
            name: TensorHeader("BF16", size, 2 * torch.Size(size).numel())
            for name, size in tensors.items()
        }
        file.write(encode_header(headers))
        for header in headers.values():
            left = header.size_bytes
            while left:
                left -= file.write(data[: min(left, len(data))])
