"""Which files of a model on the hub jobs read."""

from hala_hpc.engines.models.needed_files import needed_names

SMALL = ["LICENSE", "README.md", "config.json", "merges.txt", "tokenizer.json", "tokenizer.model"]
NEEDLESS = ["model.gguf", "onnx/model.onnx", "original/params.json", "tf_model.h5", "run.py"]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
PICKLED = ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json", "training_args.bin"]


def test_of_two_formats_of_weights_safetensors_are_taken() -> None:
    names = [*SMALL, *NEEDLESS, *SHARDS, *PICKLED, "consolidated.safetensors"]
    found = needed_names(names, weights=True)
    assert found == sorted([*SMALL, *SHARDS, "pytorch_model.bin.index.json"])


def test_pickled_weights_are_taken_where_there_are_no_others() -> None:
    assert "pytorch_model-00001-of-00001.bin" in needed_names([*SMALL, *PICKLED], weights=True)
    assert "training_args.bin" not in needed_names([*SMALL, *PICKLED], weights=True)


def test_without_weights_the_tokenizer_and_its_templates_are_taken() -> None:
    template = "additional_chat_templates/tools.jinja"
    names = [*SMALL, *SHARDS, template]
    assert needed_names(names, weights=False) == sorted([*SMALL, template])
