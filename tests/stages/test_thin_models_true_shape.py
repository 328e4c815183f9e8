"""The shape of LFM2-350M itself, with random weights: tokens, a step, a merge, and an answer."""

import json
import random
import sys
from math import prod
from pathlib import Path
from typing import Any

import pytest
from corpora import row_id, write_corpus
from plain_out import run_plain
from quantize_python import run_heavy
from real_ranks import Ranks, losses_of
from thin_families import LFM2_350M
from thin_models import make_thin_model
from token_folders import make_tokens

from hala_hpc.demo.rows import instruction_rows
from hala_hpc.engines.models.tensors import tensor_headers

#: Timeout of a step in seconds, including the checkpoint.
LIMIT_S = 1200


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(2400)
def test_lfm2_350m_is_trained_a_step_is_merged_and_answers(tmp_path: Path) -> None:
    model = make_thin_model("lfm2", tmp_path / "model", **LFM2_350M)
    headers = tensor_headers(model)
    assert round(sum(prod(header.shape) for header in headers.values()) / 1e6) == 354
    assert {header.dtype for header in headers.values()} == {"BF16"}
    talks = [row["messages"] for row in instruction_rows(8, random.Random(0), set())]
    rows = [{"id": row_id(talk), "origin": "test", "messages": talk} for talk in talks]
    options = {"model": str(model), "train": str(write_corpus(tmp_path / "talks", rows))}
    tokens = make_tokens(tmp_path, **options, max_length=256)
    settings: dict[str, Any] = {
        "model": str(model),
        "tokens": str(tokens),
        "max_steps": 1,
        "global_batch_size": 4,
        "zero_stage": 0,
        "warmup_ratio": 0,
        "learning_rate": 1e-3,
    }
    attempt = Ranks(tmp_path / "sft", 1, **settings)
    assert attempt.end(LIMIT_S) == [0], attempt.logs()[0][-3000:]
    tuned = tmp_path / "sft" / "output" / "0"
    assert tensor_headers(tuned) == headers
    assert 8 < losses_of(tmp_path / "sft")[0] < 14
    both = {"base": str(model), "model": str(tuned)}
    merged = run_plain("merge", both, tmp_path / "merge").folder(0)
    assert tensor_headers(merged) == headers
    answers = json.loads(
        run_heavy([sys.executable, "tests/support/ask_both_ways.py", str(merged)]).splitlines()[-1]
    )[str(merged)]
    assert answers["vllm"] == answers["transformers"], answers
