"""Packing: sequences that are full, hold every token once, and keep their examples apart."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from corpora import conversation, write_corpus
from random_models import random_cohere2, random_lfm2
from tiny_models import make_tiny_model
from token_folders import make_tokens

from hala_hpc.engines.training.dataset import load_training_data, make_collator
from hala_hpc.engines.training.tokens.packing import pack_examples
from hala_hpc.engines.training.tokens.packing_check import LEAK, measure_leak, packing_faults


def lengths_like_real_ones(number: int, longest: int) -> list[int]:
    """Nearly all rows are short and a few are long, as in real corpora."""
    chance = random.Random(0)
    return [min(max(8, int(chance.lognormvariate(5, 0.8))), longest) for _ in range(number)]


@pytest.mark.parametrize("room", [512, 1024, 2048])
def test_sequences_hold_every_example_once_and_are_nearly_full(room: int) -> None:
    lengths = lengths_like_real_ones(20_000, room)
    sequences = pack_examples(lengths, room)
    assert sorted(number for one in sequences for number in one) == list(range(len(lengths)))
    filled = [sum(lengths[number] for number in one) for one in sequences]
    assert max(filled) <= room
    assert sum(filled) / (len(filled) * room) > 0.995


def test_the_same_lengths_give_the_same_sequences() -> None:
    lengths = lengths_like_real_ones(500, 256)
    assert pack_examples(lengths, 256) == pack_examples(lengths, 256)


def test_examples_that_fit_with_no_other_are_alone() -> None:
    assert pack_examples([], 10) == []
    assert pack_examples([10, 10, 9, 2], 10) == [[0], [1], [2], [3]]
    # Two halves of one length, and one for which there is no other half.
    assert [len(one) for one in pack_examples([5, 5, 5], 10)] == [2, 1]


WORDS = ["the", "boy", "eats", "bread", "and", "girl", "reads", "a", "book", "blue", "sky"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with attention only, and a corpus tokenized unpacked and packed."""
    folder = tmp_path_factory.mktemp("packing")
    make_tiny_model(folder / "model", steps=0)
    chance = random.Random(1)
    rows = [
        conversation("Be kind.", *(" ".join(chance.choices(WORDS, k=n % 17 + 1)) for _ in range(2)))
        for n in range(60)
    ]
    write_corpus(folder / "talks", rows)
    for name, packing in (("apart", False), ("packed", True)):
        options: dict[str, Any] = {"model": str(folder / "model"), "train": str(folder / "talks")}
        make_tokens(folder / name, **options, max_length=160, packing=packing)
    return folder


def losses(model: Any, batch: dict[str, Any]) -> list[list[float]]:
    """Return the losses of the loss tokens in order, for each line of a batch."""
    import torch

    labels = batch.pop("labels")
    logits = model(**batch, use_cache=False).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=-100
    )
    return [
        line[with_loss].tolist()
        for line, with_loss in zip(loss, labels[:, 1:] != -100, strict=True)
    ]


@pytest.mark.parametrize("padding_free", [False, True])
def test_an_example_has_the_same_losses_packed_and_apart(folder: Path, padding_free: bool) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype="float32").eval()
    apart, packed = (
        load_training_data(folder / name / "tokens").train for name in ("apart", "packed")
    )
    assert len(packed) < len(apart) / 2
    collate = make_collator(0, padding_free)
    with torch.no_grad():
        alone = [losses(model, collate([row]))[0] for row in apart]
        rows = [packed[number] for number in range(len(packed))]
        # Lines of unequal length, so that there is padding as well.
        together = [losses(model, collate(rows[n : n + 3])) for n in range(0, len(rows), 3)]
    by_tokens = {tuple(row["input_ids"]): loss for row, loss in zip(apart, alone, strict=True)}
    expected = [by_tokens[tokens] for row in rows for tokens in examples_of(row)]
    found = [loss for batch in together for line in batch for loss in line]
    assert found == pytest.approx([loss for one in expected for loss in one], abs=1e-5)


def examples_of(row: dict[str, Any]) -> list[tuple[int, ...]]:
    """Return the token ids of each example in a packed sequence."""
    numbers = iter(row["input_ids"])
    return [tuple(next(numbers) for _ in range(size)) for size in row["seq_lengths"]]


def test_every_token_is_packed_once(folder: Path) -> None:
    apart, packed = (load_training_data(folder / name / "tokens") for name in ("apart", "packed"))
    before = Counter(tuple(row["input_ids"]) for row in apart.train)
    assert Counter(tokens for row in packed.train for tokens in examples_of(row)) == before
    for name in ("rows", "tokens", "loss_tokens", "length_max"):
        assert getattr(packed.facts, name) == getattr(apart.facts, name)
    assert packed.lengths.max() <= 160
    assert packed.facts.fill == round(packed.facts.tokens / (len(packed.train) * 160), 5)


def test_layers_that_mix_examples_are_detected(tmp_path: Path) -> None:
    assert measure_leak(random_cohere2(tmp_path / "attention")) == 0
    assert measure_leak(random_lfm2(tmp_path / "convolutions")) > LEAK
    (fault,) = packing_faults(str(tmp_path / "convolutions"), "owner/model")
    assert (
        "owner/model has layers of kind conv, and without causal_conv1d rows of one sequence leak"
        in fault
    )
    assert packing_faults(str(tmp_path / "attention"), "owner/model") == []
    assert packing_faults(str(tmp_path / "not-made-yet"), "owner/model") == []
