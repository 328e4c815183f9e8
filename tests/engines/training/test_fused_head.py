"""sft: the loss of TRL's fused head, which GPUs compute, equals the model's own."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from corpora import row_id, write_corpus
from plain_out import FUSED_HEAD
from real_ranks import Ranks
from thin_models import make_thin_model
from token_folders import make_tokens

from hala_hpc.demo.rows import instruction_rows
from hala_hpc.engines.models.tensors import tensor_headers
from hala_hpc.engines.training.metrics import METRICS_FILE, read_metrics

#: Timeout of one of these trainings on a busy machine, in seconds.
LIMIT_S = 900
QUICK: dict[str, Any] = {
    "max_steps": 3,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "resources": {"nodes": 2},
}


def trained(folder: Path, name: str, **settings: Any) -> Path:
    """Train with two ranks; the base folder."""
    places: dict[str, Any] = {"model": str(folder / "model"), "tokens": str(folder / "tokens")}
    attempt = Ranks(folder / name, 2, **QUICK, **places, **settings)
    assert attempt.end(LIMIT_S) == [0, 0], attempt.logs()[0][-3000:]
    return folder / name


def losses(base: Path) -> list[float]:
    """Return the losses of the steps and of the held-out rows."""
    lines = read_metrics(base / "output" / "0" / "metrics" / METRICS_FILE)
    return [line.loss or line.held_out_loss or 0.0 for line in lines]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(2000)
@pytest.mark.parametrize(
    ("family", "packing", "settings"),
    [
        # More rows than a pass takes by default: gradients are accumulated.
        ("lfm2", False, {"zero_stage": 1, "global_batch_size": 32}),
        (
            "gemma2",
            True,
            {"zero_stage": 3, "gradient_checkpointing": True, "global_batch_size": 8},
        ),
    ],
)
def test_the_fused_head_has_the_losses_of_the_model(
    family: str,
    packing: bool,
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The cap is so low that it changes every logit.
    cap: dict[str, Any] = {"final_logit_softcapping": 1.0} if family == "gemma2" else {}
    model = make_thin_model(family, tmp_path / "model", torch_dtype="float32", **cap)
    talks = [row["messages"] for row in instruction_rows(120, random.Random(0), set())]
    rows = [{"id": row_id(talk), "origin": "test", "messages": talk} for talk in talks]
    options = {"model": str(model), "train": str(write_corpus(tmp_path / "talks", rows))}
    make_tokens(tmp_path, **options, max_length=128, packing=packing, held_out=0.1)
    own = trained(tmp_path, "own", **settings)
    monkeypatch.setenv(FUSED_HEAD, "1")
    fused = trained(tmp_path, "fused", **settings)
    assert len(losses(own)) == 4
    assert losses(fused) == pytest.approx(losses(own), rel=1e-3)
    assert losses(own)[2] < losses(own)[0]
    files = [base / "output" / "0" / "training.json" for base in (own, fused)]
    heads = [json.loads(file.read_text())["kernels"]["fused_head"] for file in files]
    assert heads == [False, True]
    assert tensor_headers(fused / "output" / "0") == tensor_headers(model)
