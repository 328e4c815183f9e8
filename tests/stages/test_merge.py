"""merge: mergekit's slerp between a tuned model and its base."""

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from plain_out import PlainInputs, run_plain
from random_models import LFM2_KEYS, random_cohere2, random_lfm2

from hala_hpc.core.errors import UserError
from hala_hpc.core.stage import Stage
from hala_hpc.engines.models.tensors import iter_tensors, tensor_headers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model, and a tuned model of the same shapes."""
    folder = tmp_path_factory.mktemp("merge")
    random_lfm2(folder / "base", seed=1)
    random_lfm2(folder / "tuned", seed=2)
    return folder


def merge(folder: Path, out: Path, **more: Any) -> Path:
    settings = {"base": str(folder / "base"), "model": str(folder / "tuned")} | more
    return run_plain("merge", settings, out).folder(0)


def preflight(**settings: Any) -> list[str]:
    kind: type[Stage[Any]] = import_module("hala_hpc.stages.merge").STAGE
    return kind(kind.Settings(**settings), PlainInputs()).preflight()


@pytest.mark.slow
def test_every_tensor_is_between_base_and_tuned(folder: Path, tmp_path: Path) -> None:
    merged = dict(iter_tensors(merge(folder, tmp_path)))
    base, tuned = dict(iter_tensors(folder / "base")), dict(iter_tensors(folder / "tuned"))
    assert merged.keys() == base.keys()
    for name, tensor in merged.items():
        if "norm" not in name:
            near = (tensor - base[name]).norm(), (tensor - tuned[name]).norm()
            apart = (base[name] - tuned[name]).norm()
            assert all(0.3 * apart < distance < 0.9 * apart for distance in near), name
            assert abs(near[0] - near[1]) < 0.02 * apart, name


@pytest.mark.slow
def test_t_of_zero_is_the_base_and_of_one_the_tuned_model(folder: Path, tmp_path: Path) -> None:
    for t, name in ((0.0, "base"), (1.0, "tuned")):
        merged = dict(iter_tensors(merge(folder, tmp_path / name, t=t)))
        for key, tensor in iter_tensors(folder / name):
            assert (merged[key] - tensor).abs().max() < 1e-6, key


@pytest.mark.slow
def test_the_tuned_model_gives_template_config_and_the_wanted_type(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "tuned", tmp_path / "tuned")
    (tmp_path / "tuned" / "chat_template.jinja").write_text("{{ messages }}")
    model = merge(folder, tmp_path, model=str(tmp_path / "tuned"), dtype="bfloat16")
    assert (model / "chat_template.jinja").read_text() == "{{ messages }}"
    config = json.loads((model / "config.json").read_text())
    assert config.items() >= LFM2_KEYS.items()
    assert config["dtype"] == "bfloat16"
    assert {header.dtype for header in tensor_headers(model).values()} == {"BF16"}


def test_a_model_and_itself_are_refused_before_a_job_is_submitted(folder: Path) -> None:
    base = str(folder / "base")
    faults = preflight(base=base, model=base + "/")
    assert faults == [
        f"base={base}: the same model as `model`; a merge needs two models; "
        "set model to the tuned one"
    ]
    assert preflight(base="@sft", model="@sft")[0].startswith("base=@sft: the same model as")
    assert preflight(base="@prepare", model="@sft") == []


def test_models_of_other_shapes_are_refused_by_the_name_of_the_tensor(
    folder: Path, tmp_path: Path
) -> None:
    random_cohere2(tmp_path / "other")
    with pytest.raises(UserError) as caught:
        merge(folder, tmp_path, model=str(tmp_path / "other"))
    assert "the models differ: tensor model.embedding_norm.weight is [64] in" in str(caught.value)
    assert "but absent in" in str(caught.value)


def test_tokenizers_that_disagree_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "tuned", tmp_path / "tuned")
    file = tmp_path / "tuned" / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    one, other = list(vocabulary)[10:12]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="the tokenizers differ: token"):
        merge(folder, tmp_path, model=str(tmp_path / "tuned"))


def test_a_merge_with_nan_is_not_committed(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder / "tuned", tmp_path / "merged")
    file = tmp_path / "merged" / "model.safetensors"
    weights = load_file(file)
    weights["model.layers.1.ffn_norm.weight"][3] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    kind: type[Stage[Any]] = import_module("hala_hpc.stages.merge").STAGE
    settings: dict[str, Any] = {"base": str(folder / "base"), "model": str(folder / "tuned")}
    stage = kind(kind.Settings(**settings), PlainInputs())
    with pytest.raises(UserError, match=r"tensor model\.layers\.1\.ffn_norm\.weight has values"):
        stage.check(0, tmp_path / "merged")
