"""The order of rows, the padding of a batch, and the loss on held-out rows."""

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from corpora import pair, write_corpus
from real_ranks import Ranks
from tiny_models import SENTENCES, TRANSLATE, make_tiny_model
from token_folders import make_tokens

from benchmarks.sft.tokens import fill_of
from hala_hpc.engines.training.dataset import (
    GlobalBatchOrder,
    load_training_data,
    make_collator,
    rows_seen,
)

#: Rows of a global batch, and of a pass of the same size, in these tests.
BATCH, MICRO = 64, 8


def lengths_like_real_ones(rows: int) -> Any:
    """Nearly all rows are short and a few are long, as in real corpora."""
    import numpy as np

    return np.clip(np.random.default_rng(0).lognormal(5, 0.8, rows), 8, 2048).astype(np.int32)


@pytest.mark.parametrize("by_length", [False, True])
@pytest.mark.parametrize("rows", [40, 640, 5_000])
def test_every_row_comes_once_an_epoch_and_the_last_batch_is_topped_up(
    rows: int, by_length: bool
) -> None:
    order = GlobalBatchOrder(lengths_like_real_ones(rows), BATCH, 0, by_length)
    epoch = order.epoch_rows(0).tolist()
    assert len(epoch) == math.ceil(rows / BATCH) * BATCH
    times = Counter(epoch)
    assert set(times) == set(range(rows))
    if rows >= BATCH:
        assert max(times.values()) <= 2


def test_an_epoch_is_decided_by_seed_and_number() -> None:
    lengths = lengths_like_real_ones(1000)
    one, same, other = (GlobalBatchOrder(lengths, BATCH, seed, True) for seed in (5, 5, 6))
    first = one.epoch_rows(0).tolist()
    assert same.epoch_rows(0).tolist() == first
    assert other.epoch_rows(0).tolist() != first
    assert one.epoch_rows(1).tolist() != first
    assert one.epoch_rows(0).tolist() == first


def test_rows_of_like_length_share_a_batch_and_the_longest_comes_first() -> None:
    import numpy as np

    lengths = lengths_like_real_ones(20_000)
    by_length, random_ = (GlobalBatchOrder(lengths, BATCH, 0, by) for by in (True, False))
    assert lengths[by_length.epoch_rows(0)[0]] == lengths.max()
    assert fill_of(by_length.epoch_rows(0), lengths, MICRO) > 0.93
    # Inside a batch even a random order is sorted by length.
    shuffled = np.random.default_rng(0).permutation(20_000)
    assert fill_of(random_.epoch_rows(0), lengths, MICRO) > fill_of(shuffled, lengths, MICRO) + 0.1
    means = lengths[by_length.epoch_rows(0)].reshape(-1, BATCH).mean(axis=1)
    # The batches themselves have a random order.
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, and token files of pairs, some of them held out."""
    folder = tmp_path_factory.mktemp("data")
    make_tiny_model(folder / "model", steps=0)
    chance = random.Random(0)
    known = list(SENTENCES.items())
    rows = []
    for _ in range(120):
        chosen = chance.sample(known, chance.randint(1, 4))
        rows.append(pair(*(" ".join(side) for side in zip(*chosen, strict=True))))
    write_corpus(folder / "pairs", rows)
    options: dict[str, Any] = {"model": str(folder / "model"), "train": str(folder / "pairs")}
    options |= {"objective": "translate", "prompt": TRANSLATE, "max_length": 256}
    for name, packing in (("apart", False), ("packed", True)):
        make_tokens(folder / name, **options, packing=packing, held_out=0.15, units=2)
    return folder


def test_batches_are_padded_and_packed_ones_know_the_borders_of_examples(folder: Path) -> None:
    apart, packed = (
        load_training_data(folder / name / "tokens").train for name in ("apart", "packed")
    )
    padded = make_collator(0, padding_free=False)([apart[0], apart[1]])
    assert padded["attention_mask"].sum(1).tolist() == [apart[0]["length"], apart[1]["length"]]
    batch = make_collator(0, padding_free=False)([packed[0], packed[1]])
    assert "attention_mask" not in batch
    starts = (batch["position_ids"] == 0).sum(1) - (
        batch["input_ids"].shape[1] > packed[0]["length"]
    )
    assert starts[0] == len(packed[0]["seq_lengths"])
    assert (batch["labels"][batch["position_ids"] == 0] == -100).all()
    assert batch["seq_idx"].max() >= len(packed[0]["seq_lengths"]) - 1


def test_rows_are_counted_through_the_sequences_of_the_first_steps(folder: Path) -> None:
    for name in ("apart", "packed"):
        data = load_training_data(folder / name / "tokens")
        order = GlobalBatchOrder(data.lengths, 4, 0, True)
        seen = [rows_seen(data, order, steps) for steps in range(order.batches + 2)]
        assert seen[0] == 0
        assert seen == sorted(seen)
        assert seen[-1] == seen[-2] == data.facts.rows
        assert seen[1] >= 4


def trained(folder: Path, base: Path, ranks: int = 1, **more: Any) -> dict[str, Any]:
    """Return the figures of a short training on `ranks` ranks."""
    options: dict[str, Any] = {
        "model": str(folder / "model"),
        "zero_stage": 0,
        "learning_rate": 3e-3,
    }
    options |= {"global_batch_size": 8, "max_steps": 9, "logging_steps": 3}
    running = Ranks(base, ranks, **options | more)
    assert running.end() == [0] * ranks, running.logs()[0]
    return dict(json.loads((base / "facts.json").read_text()))


def loss_of(model: Path, rows: Any) -> float:
    """Return the mean loss of the loss tokens of all rows, by plain torch."""
    import torch
    from transformers import AutoModelForCausalLM

    model_ = AutoModelForCausalLM.from_pretrained(model, dtype="float32").eval()
    total, tokens = 0.0, 0
    for row in rows:
        ids, labels = (torch.as_tensor(row[name]) for name in ("input_ids", "labels"))
        with torch.no_grad():
            logits = model_(input_ids=ids[None]).logits[0, :-1]
        total += float(torch.nn.functional.cross_entropy(logits, labels[1:], reduction="sum"))
        tokens += int((labels != -100).sum())
    return total / tokens


@pytest.mark.long
@pytest.mark.slow
def test_the_held_out_loss_is_that_of_all_rows_however_they_are_cut_up(
    folder: Path, tmp_path: Path
) -> None:
    tokens = folder / "apart" / "tokens"
    curves = []
    for tokens_of_pass, ranks in ((2048, 1), (64, 1), (256, 2)):
        options = {"tokens": str(tokens), "micro_batch_tokens": tokens_of_pass, "eval_steps": 4}
        facts = trained(folder, tmp_path / str(tokens_of_pass), ranks, **options)
        curves.append([point["loss"] for point in facts["details"]["held_out_curve"]])
    assert [point["step"] for point in facts["details"]["held_out_curve"]] == [4, 8, 9]
    assert curves[0][0] > curves[0][-1]
    assert curves[1] == pytest.approx(curves[0], abs=2e-5)
    assert curves[2] == pytest.approx(curves[0], abs=2e-5)
    expected = loss_of(tmp_path / "2048" / "output" / "0", load_training_data(tokens).held_out)
    assert curves[0][-1] == pytest.approx(expected, abs=2e-5)


@pytest.mark.long
@pytest.mark.slow
def test_packed_sequences_are_trained_and_the_template_goes_with_the_model(
    folder: Path, tmp_path: Path
) -> None:
    tokens = folder / "packed" / "tokens"
    facts = trained(folder, tmp_path, tokens=str(tokens), max_steps=40, learning_rate=1e-3)
    assert facts["rows_out"] == load_training_data(tokens).facts.rows
    assert facts["details"]["loss_last"] < 0.5 * facts["details"]["loss_first"]
    made = tmp_path / "output" / "0"
    template = (tokens / "tokenizer" / "chat_template.jinja").read_text()
    assert (made / "chat_template.jinja").read_text() == template
    assert json.loads((made / "config.json").read_text())["model_type"] == "qwen2"
