"""quantize: LLM Compressor in its own environment; vLLM reads the result in the other."""

import json
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from plain_out import PlainInputs, run_plain
from quantize_python import QUANTIZE_PYTHON, run_heavy
from random_models import random_cohere2

from hala_hpc.core.errors import UserError
from hala_hpc.core.stage import Stage

#: Lets vLLM answer three tokens; the last line is JSON.
ASK = """
import json, sys
from vllm import LLM, SamplingParams
llm = LLM(sys.argv[1], max_model_len=128, max_num_seqs=2, enforce_eager=True)
ask = SamplingParams(temperature=0, max_tokens=5, ignore_eos=True)
answer = llm.generate({"prompt_token_ids": [5, 6, 7]}, ask, use_tqdm=False)[0].outputs[0]
print(json.dumps([len(answer.token_ids), llm.llm_engine.model_config.quantization]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the teacher's architecture."""
    folder = tmp_path_factory.mktemp("quantize")
    random_cohere2(folder / "model")
    return folder


@pytest.fixture(scope="module")
def compressed(folder: Path) -> Path:
    """The model in FP8, made by the environment `quantize`."""
    run_heavy([str(QUANTIZE_PYTHON), *plain(folder, "fp8")])
    return folder / "fp8" / "output" / "0"


def plain(folder: Path, name: str, **more: Any) -> list[str]:
    settings = {"model": str(folder / "model"), **more}
    return ["tests/support/plain_out.py", "quantize", json.dumps(settings), str(folder / name), "1"]


def details(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "facts.json").read_text())["details"]
    return found


def stage(**settings: Any) -> Stage[Any]:
    kind: type[Stage[Any]] = import_module("hala_hpc.stages.quantize").STAGE
    return kind(kind.Settings(**settings), PlainInputs())


@pytest.mark.slow
def test_all_linear_weights_become_fp8_and_half_the_size(folder: Path, compressed: Path) -> None:
    del compressed
    found = details(folder / "fp8")
    # Four attention and three feed-forward weights in each of two layers.
    assert found["fp8_weights"] == 14
    assert found["bytes_after"] < 0.6 * found["bytes_before"]


@pytest.mark.long
@pytest.mark.slow
def test_a_checkpoint_of_pickled_weights_is_compressed_too(folder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    model = tmp_path / "model"
    shutil.copytree(folder / "model", model)
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    run_heavy([str(QUANTIZE_PYTHON), *plain(tmp_path, "fp8")])
    found = details(tmp_path / "fp8")
    assert found["fp8_weights"] == 14
    assert found["bytes_after"] < 0.6 * found["bytes_before"]


@pytest.mark.slow
def test_tokenizer_and_chat_template_come_along(folder: Path, compressed: Path) -> None:
    name = "chat_template.jinja"
    assert (compressed / name).read_bytes() == (folder / "model" / name).read_bytes()
    assert (compressed / "tokenizer.json").is_file()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(700)
def test_the_checkpoint_loads_and_answers_in_vllm(compressed: Path) -> None:
    answer = run_heavy([sys.executable, "-c", ASK, str(compressed)])
    assert json.loads(answer.splitlines()[-1]) == [5, "compressed-tensors"]


@pytest.mark.slow
def test_a_compressed_model_is_refused(compressed: Path, tmp_path: Path) -> None:
    settings = {"model": str(compressed)}
    with pytest.raises(UserError, match="already compressed"):
        run_plain("quantize", settings, tmp_path)


def test_the_scheme_none_gives_the_same_files_a_second_name(folder: Path, tmp_path: Path) -> None:
    out = run_plain("quantize", {"model": str(folder / "model"), "scheme": "none"}, tmp_path)
    files = [path / "model.safetensors" for path in (out.folder(0), folder / "model")]
    assert files[0].samefile(files[1])
    assert out.facts is not None
    assert out.facts.details["fp8_weights"] == 0


def test_a_checkpoint_that_was_not_compressed_is_not_committed(
    folder: Path, tmp_path: Path
) -> None:
    made = run_plain("quantize", {"model": str(folder / "model"), "scheme": "none"}, tmp_path)
    with pytest.raises(UserError, match="0 FP8 weights and no quantization_config"):
        stage(model=str(folder / "model")).check(0, made.folder(0))


def test_a_folder_without_weights_is_refused_before_a_job_is_submitted(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="no weights") as caught:
        stage(model=str(tmp_path)).preflight()
    assert caught.value.code == 66
