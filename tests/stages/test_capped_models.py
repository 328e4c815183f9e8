"""A model with attention logit caps computes the same in training, scoring and serving."""

import json
from contextlib import closing
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from capped_models import capped_model, without_cap
from corpora import pair, write_corpus
from plain_out import run_plain
from tiny_models import SENTENCES
from token_folders import make_tokens

from hala_hpc.engines.evaluation.lm_eval import BenchmarkRun, load_model
from hala_hpc.engines.training.dataset import load_training_data
from hala_hpc.engines.training.tokens.examples import IGNORE_INDEX

#: Tolerance between two implementations, in the log-probability of a token.
ROUNDING = 1e-3
#: Tolerance of the mean over all tokens, which is the loss.
MEAN_ROUNDING = 1e-4
#: Prompt tokens and trained tokens of a row.
Row = tuple[list[int], list[int]]


def answer_rows(tokens: Path) -> list[Row]:
    """Prompt and answer of each row of token files."""
    rows = []
    for row in load_training_data(tokens).train:
        ids, labels = row["input_ids"].tolist(), row["labels"].tolist()
        asked = labels.count(IGNORE_INDEX)
        assert labels[asked:] == ids[asked:]
        rows.append((ids[:asked], ids[asked:]))
    return rows


def trained(base: Path, model: Path, tokens: Path) -> dict[str, Any]:
    """Metrics of a training of one step; its loss is that of the unchanged model."""
    rows = len(load_training_data(tokens).train)
    settings = {"model": str(model), "tokens": str(tokens), "zero_stage": 0, "max_steps": 1}
    run_plain("sft", {**settings, "global_batch_size": rows}, base)
    metrics: dict[str, Any] = json.loads((base / "output" / "0" / "training.json").read_text())
    return metrics


def scored(model: Path, rows: list[Row]) -> list[float]:
    """Log-probability of each token of all answers, computed as in benchmarks."""
    run = BenchmarkRun(["t"], None, None, None, 16, "float32", "auto", chat=False)
    asked = [
        (("", ""), prompt + answer[:place], answer[place : place + 1])
        for prompt, answer in rows
        for place in range(len(answer))
    ]
    found = load_model(str(model), run)._loglikelihood_tokens(asked, disable_tqdm=True)
    return [likely for likely, _ in found]


def served(model: Path, rows: list[Row]) -> list[float]:
    """The same log-probabilities, computed by vLLM."""
    from vllm import SamplingParams

    from hala_hpc.engines.generation.engine import EngineConfig
    from hala_hpc.engines.generation.settings import EngineSettings
    from hala_hpc.engines.generation.vllm.engine import VllmEngine

    settings = EngineSettings(dtype="float32", cpu_cache_gb=0.1, max_model_len=512)
    with closing(VllmEngine(EngineConfig(str(model), settings))) as engine:
        prompts = [{"prompt_token_ids": prompt + answer} for prompt, answer in rows]
        asked = SamplingParams(max_tokens=1, prompt_logprobs=1)
        found = [out.prompt_logprobs for out in engine.llm.generate(prompts, asked)]
    return [
        likely[len(prompt) + place][token].logprob
        for likely, (prompt, answer) in zip(found, rows, strict=True)
        for place, token in enumerate(answer)
    ]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_training_scoring_and_vllm_apply_the_cap_alike(tmp_path: Path) -> None:
    model = capped_model(tmp_path / "capped")
    pairs = [pair(source, target) for source, target in list(SENTENCES.items())[:6]]
    settings: dict[str, Any] = {"objective": "translate", "max_length": 256, "model": str(model)}
    settings["train"] = str(write_corpus(tmp_path / "pairs", pairs))
    apart = make_tokens(tmp_path / "apart", **settings)
    packed = make_tokens(tmp_path / "packed", **settings, packing=True)
    rows = answer_rows(apart)

    scores = scored(model, rows)
    # Without the cap single tokens differ far beyond rounding, and so does the mean of all.
    free = scored(without_cap(model, tmp_path / "free"), rows)
    assert max(abs(one - other) for one, other in zip(free, scores, strict=True)) > 0.1
    assert fmean(free) != pytest.approx(fmean(scores), abs=10 * MEAN_ROUNDING)

    assert served(model, rows) == pytest.approx(scores, abs=ROUNDING)
    for name, tokens in (("apart", apart), ("packed", packed)):
        metrics = trained(tmp_path / f"trained-{name}", model, tokens)
        assert metrics["kernels"]["attention"] == "eager"
        assert metrics["kernels"]["fused_head"] is False
        assert metrics["loss_first"] == pytest.approx(-fmean(scores), abs=MEAN_ROUNDING)
    assert len(load_training_data(packed).train) < len(rows)
