"""Small models and data sets for the hub stand-in: real files, made without torch."""

import json
from collections.abc import Mapping

VOCABULARY = 16
WIDTH = 8


def safetensors(tensors: Mapping[str, tuple[int, ...]], fill: int = 0) -> bytes:
    """A safetensors file of float32 tensors of these shapes, with all bytes equal."""
    header: dict[str, object] = {}
    end = 0
    for name, shape in tensors.items():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes([fill]) * end


def tokenizer() -> bytes:
    """A tokenizer of whole words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    vocabulary = {"<unk>": 0, "</s>": 1, "accept": 2, "reject": 3, "good": 4, "morning": 5}
    made = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    return made.to_str().encode()


def model(fill: int = 0) -> dict[str, bytes]:
    """The files of a model in two shards, with unneeded files next to them."""
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "eos_token_id": 1,
    }
    shards = {
        "model-00001-of-00002.safetensors": {"model.embed_tokens.weight": (VOCABULARY, WIDTH)},
        "model-00002-of-00002.safetensors": {"lm_head.weight": (VOCABULARY, WIDTH)},
    }
    places = {name: shard for shard, tensors in shards.items() for name in tensors}
    index = {"metadata": {"total_size": 2 * VOCABULARY * WIDTH * 4}, "weight_map": places}
    return {
        "config.json": json.dumps(config).encode(),
        "generation_config.json": b"{}",
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
        ).encode(),
        "model.safetensors.index.json": json.dumps(index).encode(),
        **{shard: safetensors(tensors, fill) for shard, tensors in shards.items()},
        "README.md": b"---\nlicense: mit\n---\n",
        "pytorch_model.bin": b"pickled" * 1000,
        "original/consolidated.00.pth": b"other" * 1000,
        "onnx/model.onnx": b"other" * 1000,
    }


def model_of_one_file(size_bytes: int) -> dict[str, bytes]:
    """The files of a model whose weights are one file of about this size."""
    files = model()
    for name in [name for name in files if name.startswith("model")]:
        del files[name]
    tensors = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "filler": (size_bytes // 4,)}
    return {**files, "model.safetensors": safetensors(tensors)}


def rows(first: int, last: int) -> bytes:
    """JSON lines of questions and answers."""
    lines = [
        json.dumps({"instruction": f"What is {n} plus {n}?", "output": f"It is {2 * n}."})
        for n in range(first, last)
    ]
    return ("\n".join(lines) + "\n").encode()


def data_set() -> dict[str, bytes]:
    """A data set with two subsets and two splits."""
    return {
        "README.md": b"# questions\n",
        "easy/train-00000-of-00002.jsonl": rows(0, 5),
        "easy/train-00001-of-00002.jsonl": rows(5, 10),
        "easy/test-00000-of-00001.jsonl": rows(10, 12),
        "hard/train-00000-of-00001.jsonl": rows(100, 200),
    }
