"""FP8 part by part: the same bits as for the whole model, in the memory of one part."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from quantize_python import QUANTIZE_PYTHON, run_heavy
from random_models import random_cohere2, random_lfm2

from hala_hpc.core.errors import UserError
from hala_hpc.engines.models.compression import (
    CompressionTask,
    Outline,
    find_whole_model_reason,
    require_memory,
    split_into_parts,
    stored_tensors,
)
from hala_hpc.engines.models.tensors import iter_tensors, weight_bytes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]

#: Smaller than the embedding, so that the embedding is its own part.
PART_BYTES = 40_000
#: What vLLM answers to three tokens, as JSON on the last line.
ASK = """
import json, sys
from vllm import LLM, SamplingParams
llm = LLM(sys.argv[1], max_model_len=128, max_num_seqs=2, enforce_eager=True)
ask = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
answer = llm.generate({"prompt_token_ids": [5, 6, 7]}, ask, use_tqdm=False)[0].outputs[0]
print(json.dumps(list(answer.token_ids)))
"""


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.long) for name in ("cohere2", "lfm2")],
)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thin model in bfloat16, in several files, of the teacher's and of the translator's kind."""
    folder = tmp_path_factory.mktemp(request.param)
    make = {"cohere2": random_cohere2, "lfm2": random_lfm2}[request.param]
    return in_files(make(folder / "made", dtype="bfloat16", layers=6), folder / "model")


def in_files(made: Path, folder: Path) -> Path:
    """The same model in several files."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    whole = AutoModelForCausalLM.from_pretrained(made, dtype="auto")
    whole.save_pretrained(folder, max_shard_size="100KB")
    AutoTokenizer.from_pretrained(made).save_pretrained(folder)
    (folder / "config.json").write_bytes((made / "config.json").read_bytes())
    assert len(list(folder.glob("*.safetensors"))) > 3
    return folder


@pytest.fixture(scope="module")
def both(model: Path) -> dict[str, Any]:
    """Results of both ways, in two folders beside the model."""
    script = ROOT / "tests" / "support" / "compress_both_ways.py"
    command = [str(QUANTIZE_PYTHON), str(script), str(model), str(model.parent / "out")]
    result: dict[str, Any] = json.loads(run_heavy([*command, str(PART_BYTES)]).splitlines()[-1])
    return result | {"folder": model.parent / "out"}


def bits(folder: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Type, shape and bytes of every tensor."""
    import torch

    def raw(tensor: Any) -> bytes:
        return bytes(tensor.contiguous().flatten().view(torch.uint8).numpy())

    return {
        name: (str(one.dtype), tuple(one.shape), raw(one)) for name, one in iter_tensors(folder)
    }


def test_every_tensor_and_the_config_are_those_of_the_whole_model(both: dict[str, Any]) -> None:
    whole, parts = both["folder"] / "whole", both["folder"] / "parts"
    assert bits(whole).keys() == bits(parts).keys()
    assert bits(whole) == bits(parts)
    configs = [json.loads((folder / "config.json").read_text()) for folder in (whole, parts)]
    assert configs[0]["quantization_config"] == configs[1]["quantization_config"]
    assert configs[1]["quantization_config"]["ignore"] == ["lm_head"]
    assert "lm_head.weight" not in bits(parts), "it is tied to the table of tokens"


def test_an_attempt_resumes_after_the_parts_of_the_one_before(both: dict[str, Any]) -> None:
    assert both["ended"] == [False, True]
    first, second = both["seen"]
    assert len(first) == 2
    assert len(second) > 6
    assert both["redone"] == []


def test_the_memory_is_that_of_a_part_and_its_result(model: Path, both: dict[str, Any]) -> None:
    largest = max(one.numel() * one.element_size() for _, one in iter_tensors(model))
    peak = {way: both["peak"][way]["cpu"] for way in ("whole", "parts")}
    assert peak["parts"] <= 3 * max(PART_BYTES, largest)
    assert peak["whole"] > 0.9 * weight_bytes(model), "else the tensors are not counted"
    assert peak["parts"] < 0.5 * weight_bytes(model)


@pytest.mark.long
def test_vllm_gives_the_same_text_for_both(both: dict[str, Any]) -> None:
    commands = [
        [sys.executable, "-c", ASK, str(both["folder"] / way)] for way in ("whole", "parts")
    ]
    answers = [json.loads(run_heavy(one).splitlines()[-1]) for one in commands]
    assert answers[0] == answers[1]
    assert len(set(answers[0])) > 1


def whole_names(folder: Path) -> frozenset[str]:
    return frozenset(name for one in stored_tensors(folder).values() for name in one)


def outline(names: frozenset[str], shared: bool = False) -> Outline:
    return Outline(None, {}, names, shared)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return random_cohere2(tmp_path / "plain", dtype="bfloat16")


def test_a_checkpoint_that_changes_while_it_is_loaded_is_compressed_as_a_whole(
    plain: Path,
) -> None:
    names, headers = whole_names(plain), stored_tensors(plain)
    assert find_whole_model_reason(plain, outline(names), headers) == ""
    other = names | {"model.layers.0.mlp.experts.weight"}
    assert "no tensor model.layers.0.mlp.experts" in find_whole_model_reason(
        plain, outline(other), headers
    )
    assert "shares its weight" in find_whole_model_reason(
        plain, outline(names, shared=True), headers
    )
    assert "not safetensors" in find_whole_model_reason(plain, outline(names), {})
    config = json.loads((plain / "config.json").read_text())
    (plain / "config.json").write_text(json.dumps(config | {"dtype": "float16"}))
    assert "its tensors are BF16" in find_whole_model_reason(plain, outline(names), headers)


def test_a_job_with_too_little_memory_for_the_whole_model_is_refused_with_the_need(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hala_hpc.engines.models.compression.job_memory_bytes", lambda: 2**28)
    with pytest.raises(UserError, match=r"this job has 0\.2 GB; set resources\.mem_gb=1") as caught:
        require_memory(plain, "its weights are not safetensors")
    assert caught.value.code == 78


def test_parts_hold_every_tensor_once_and_no_more_than_they_may(plain: Path) -> None:
    headers = stored_tensors(plain)
    sizes = {name: one.size_bytes for found in headers.values() for name, one in found.items()}
    parts = list(split_into_parts(headers, whole_names(plain), PART_BYTES))
    assert [name for part in parts for name in part.tensors] == list(sizes)
    for part in parts:
        held = [sizes[name] for name in part.tensors]
        assert sum(held) <= PART_BYTES or len(held) == 1
    assert [part.name for part in split_into_parts(headers, whole_names(plain), 10**9)] == [
        "model.safetensors"
    ]
    assert CompressionTask(plain, "FP8_DYNAMIC", ()).part_bytes == 4 * 2**30
