"""A model folder that cannot be loaded is found before a job starts."""

import json
from pathlib import Path

import pytest
from command_line import launch, recipe

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.engines.models.files import require_model
from hala_hpc.engines.models.tensors import weight_bytes


def write_model(folder: Path, name: str = "model.safetensors") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    write_weights(folder / name)
    return folder


def write_weights(path: Path) -> None:
    tensors = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    header = json.dumps(tensors).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


def fault(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        require_model(str(folder))
    assert caught.value.code == NO_INPUT
    assert str(caught.value).startswith(f"model={folder}: ")
    return str(caught.value)


def test_a_whole_folder_a_hub_id_and_a_node_are_let_through(tmp_path: Path) -> None:
    require_model(str(write_model(tmp_path / "m")))
    require_model("LiquidAI/LFM2-1.2B")
    require_model("@translator")


@pytest.mark.parametrize("name", ["my-modle", "gpt2", "qwen2.5-3b"])
def test_a_bare_name_is_no_hub_id(name: str) -> None:
    assert "there is no such folder; give a model folder or a hub id" in fault(Path(name))


def test_a_mistyped_model_is_refused_before_any_job(tmp_path: Path) -> None:
    text = '[compressed]\nstage = "quantize"\nmodel = "my-modle"\n'
    ended = launch("stage=all", recipe(tmp_path, text), f"work={tmp_path}/work", "dry_run=true")
    assert ended.code == NO_INPUT
    assert "compressed: model=my-modle: there is no such folder" in ended.err


@pytest.mark.parametrize("stage", ["sft", "merge", "quantize"])
def test_weights_that_a_job_could_not_read_are_refused_before_it(
    stage: str, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "m", "model.safetensors")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    require_model(str(model))
    more = {
        "sft": 'tokens = "owner/tokens"',
        "merge": 'base = "owner/base"',
        "quantize": 'scheme = "none"',
    }
    text = f'[node]\nstage = "{stage}"\nmodel = "{model}"\n{more[stage]}\n'
    ended = launch("stage=all", recipe(tmp_path, text), f"work={tmp_path}/work", "dry_run=true")
    assert ended.code == NO_INPUT
    assert "its weights are in pytorch_model.bin" in ended.err


def test_the_size_of_weights_counts_the_files_that_are_loaded(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    size = (model / "model.safetensors").stat().st_size
    (model / "pytorch_model.bin").write_bytes(bytes(100))
    (model / "adapter_model.safetensors").write_bytes(bytes(100))
    assert weight_bytes(model) == size
    (model / "model.safetensors").unlink()
    assert weight_bytes(model) == 100


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "there is no such folder" in fault(tmp_path / "nowhere")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (write_model(tmp_path / "m") / "model.safetensors").unlink()
    assert "no weights (model.safetensors" in fault(tmp_path / "m")


def test_everything_missing_is_reported_at_once(tmp_path: Path) -> None:
    text = fault(tmp_path)
    assert "no readable config.json" in text
    assert "no tokenizer" in text
    assert "no weights" in text


def test_weights_that_were_cut_short_are_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    assert "model.safetensors is cut short" in fault(tmp_path / "m")
    path.write_bytes(b"version 1\n")
    assert "model.safetensors is not a safetensors file" in fault(tmp_path / "m")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "m")
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    text = fault(folder)
    assert f"{name} is a pointer of Git LFS" in text
    assert "git lfs pull" in text


def test_a_part_that_the_index_names_must_be_there(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", "model-00001-of-00002.safetensors")
    assert "is a shard, but its index file is missing" in fault(folder)
    index = {"weight_map": {f"w{i}": f"model-0000{i}-of-00002.safetensors" for i in (1, 2)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002-of-00002.safetensors is missing" in fault(folder)
    write_weights(folder / "model-00002-of-00002.safetensors")
    require_model(str(folder))
