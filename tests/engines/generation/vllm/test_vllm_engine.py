"""The engine gives the answers of transformers, whatever else is in the batch."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from corpora import KNOWN
from tiny_models import TRANSLATE, make_tokenizer

from hala_hpc.demo.tiny_models import Size, build_model
from hala_hpc.engines.generation.answer_frame import AnswerFrame
from hala_hpc.engines.generation.answer_stream import AnswerStream
from hala_hpc.engines.generation.engine import EngineConfig, Request
from hala_hpc.engines.generation.row_program import Sampling
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.generation.vllm.engine import VllmEngine

ANSWER_TOKENS = 12


def texts() -> list[str]:
    """Prompts of many lengths."""
    return [TRANSLATE.format(text=" ".join(KNOWN[: i % 5 + 1])) + "!" * i for i in range(20)]


def transformers_answer(folder: Path, prompts: list[list[int]]) -> list[str]:
    """Greedy answers, each prompt on its own."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    answers = []
    for ids in prompts:
        prompt = torch.tensor([ids])
        mask = torch.ones_like(prompt)
        out = model.generate(
            prompt, attention_mask=mask, max_new_tokens=ANSWER_TOKENS, do_sample=False
        )
        answers.append(out[0, len(ids) :].tolist())
    return [one.text for one in AnswerFrame(tokenizer).decode([(ids, "") for ids in answers])]


@pytest.mark.slow
@pytest.mark.parametrize(
    "family", ["lfm2", pytest.param("cohere2", marks=pytest.mark.long), "qwen2"]
)
def test_the_engine_agrees_with_transformers(family: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    make_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    build_model(family, Size(hidden=64, layers=3, seed=1), tokenizer, tmp_path)
    settings = EngineSettings(dtype="float32", cpu_cache_gb=0.1, max_num_seqs=6)
    with closing(VllmEngine(EngineConfig(str(tmp_path), settings))) as engine:
        prompts = engine.prompt_ids(texts())
        requests = (Request(key, ids, ANSWER_TOKENS) for key, ids in enumerate(prompts))
        found = {c.key: c.text for step in AnswerStream(engine).answers(requests) for c in step}
    expected = transformers_answer(tmp_path, prompts)
    assert [found[key] for key in range(len(prompts))] == expected
    assert len(set(expected)) > 1


@pytest.mark.slow
def test_a_prompt_is_sampled_with_a_seed_however_full_a_step_is(tmp_path: Path) -> None:
    """Prompts that were read in several steps ended the engine on a CPU."""
    from transformers import AutoTokenizer

    make_tokenizer(tmp_path)
    build_model(
        "qwen2",
        Size(hidden=64, layers=2, seed=1),
        AutoTokenizer.from_pretrained(tmp_path),
        tmp_path,
    )
    sizes: dict[str, Any] = {"max_model_len": 128, "max_num_batched_tokens": 64, "max_num_seqs": 4}
    settings = EngineSettings(dtype="float32", cpu_cache_gb=0.1, **sizes)
    with closing(VllmEngine(EngineConfig(str(tmp_path), settings))) as engine:
        requests = [
            Request(key, [5 + key] * 100, ANSWER_TOKENS, Sampling(temperature=1.0, seed=key))
            for key in range(8)
        ]
        rounds = [
            {c.key: c.text for step in AnswerStream(engine).answers(requests) for c in step}
            for _ in range(2)
        ]
    assert sorted(rounds[0]) == list(range(8))
    assert rounds[0] == rounds[1], "the same seeds draw the same answers"
