"""A translator is trained on translated pairs, each once, and no batch is full of one sentence."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from corpora import conversation, pair, translated, write_corpus
from tiny_models import make_tokenizer
from token_folders import tokenized

from hala_hpc.engines.training.dataset import load_training_data, make_batch_order
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.engines.training.tokens import pair_choice

#: Few system prompts occur in nearly all rows of the paper's data; their translations are equal.
SYSTEMS = [f"You are assistant {number}." for number in range(4)]
#: Rows of a global batch, and the maximum share of one text in it.
BATCH_ROWS, MAX_SHARE_OF_ONE_TEXT = 64, 2 / 64


def answered(number: int) -> Any:
    """A translated conversation; its system prompt is one of a few."""
    texts = SYSTEMS[number % 4], f"What is {number}?", f"It is {number}."
    return translated(conversation(*texts), *(f"ar {text}" for text in texts))


def left_alone(number: int) -> Any:
    """A translated conversation with an untranslated system turn."""
    texts = SYSTEMS[0], f"Why {number}?", f"So {number}."
    return translated(conversation(*texts), SYSTEMS[0], *(f"ar {text}" for text in texts[1:]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer and three corpora."""
    folder = tmp_path_factory.mktemp("pairs")
    make_tokenizer(folder / "model")
    write_corpus(folder / "talks", [answered(number) for number in range(200)])
    write_corpus(folder / "alone", [left_alone(number) for number in range(30)])
    same = [pair("What is 7?", "ar What is 7?"), pair("%d GB", " %d GB\n"), pair("Yes", "ar Yes")]
    write_corpus(folder / "pairs", [*same, pair("Yes", "ar Yes"), pair("Yes", "ar Indeed")])
    return folder


def made(folder: Path, base: Path, *corpora: str, **more: Any) -> tuple[Counter[str], Any]:
    """Rejections of all units, and the token files, of some corpora."""
    options: dict[str, Any] = {"model": str(folder / "model"), "objective": "translate"}
    options |= {"train": [str(folder / name) for name in corpora], "prompt": "{text}"}
    out = tokenized(base, **options | {"units": 3, "held_out": 0.0} | more)
    markers = out.markers.values()
    assert sum(marker.rows_in for marker in markers) == sum(
        marker.rows_out + marker.rows_rejected for marker in markers
    )
    assert not list(base.glob("output/*/pair-hashes"))
    return sum((Counter(marker.rejected) for marker in markers), Counter()), load_training_data(
        base / "tokens"
    )


def texts_of(folder: Path, data: Any) -> Counter[str]:
    """The training rows, as texts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    return Counter(tokenizer.decode(row["input_ids"]) for row in data.train)


def test_a_message_that_was_left_unchanged_is_not_used(folder: Path, tmp_path: Path) -> None:
    rejected, data = made(folder, tmp_path, "alone", "pairs")
    # A source that came back with other spaces around it was not translated either.
    assert rejected == {"not_translated": 31, "repeated": 1}
    assert data.facts.rows == 60 + 3
    assert not any(SYSTEMS[0] in text or "GB" in text for text in texts_of(folder, data))


def test_a_pair_is_used_once_in_the_whole_set_and_its_repeats_are_counted(
    folder: Path, tmp_path: Path
) -> None:
    rejected, data = made(folder, tmp_path / "three", "talks", "pairs", "talks")
    found = texts_of(folder, data)
    # 4 system prompts, 400 messages, "Yes" in two ways; one of the pairs is among the messages.
    assert data.facts.rows == len(found) == 4 + 400 + 2
    assert rejected == {"not_translated": 1, "repeated": 196 + 2 + 600}
    others = made(folder, tmp_path / "seven", "talks", "pairs", "talks", units=7)
    assert (others[0], texts_of(folder, others[1])) == (rejected, found)


def test_pairs_are_compared_bucket_by_bucket(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(folder, tmp_path / "whole", "talks", "pairs")
    monkeypatch.setattr(pair_choice, "BUCKET_PAIRS", 50)
    monkeypatch.setattr(pair_choice, "BATCH_ROWS", 7)
    cut = made(folder, tmp_path / "cut", "talks", "pairs")
    assert cut[0] == whole[0]
    assert texts_of(folder, cut[1]) == texts_of(folder, whole[1])


def test_a_pair_that_a_weight_leaves_out_is_used_from_another_corpus(
    folder: Path, tmp_path: Path
) -> None:
    options = {"held_out": 0.2, "weights": [0.5, 1.0]}
    rejected, data = made(folder, tmp_path, "talks", "talks", **options)
    held_out = data.facts.held_out_rows
    assert data.facts.rows + held_out == 4 + 400
    assert 30 < held_out < 150
    assert rejected["weight"] > 100
    assert set(rejected) == {"weight", "repeated"}


def test_no_global_batch_is_full_of_one_text(folder: Path, tmp_path: Path) -> None:
    _, data = made(folder, tmp_path, "talks", "alone", "pairs")
    sequences = [tuple(row["input_ids"]) for row in data.train]
    for by_length in (True, False):
        settings = TrainingSettings(global_batch_size=BATCH_ROWS, group_by_length=by_length)
        rows = make_batch_order(data, settings).epoch_rows(epoch=1)
        assert set(rows.tolist()) == set(range(len(sequences)))
        for batch in rows.reshape(-1, BATCH_ROWS).tolist():
            texts = Counter(sequences[row] for row in batch)
            # Up to twice: the last batch is filled up with rows of the same epoch.
            assert max(texts.values()) / BATCH_ROWS <= MAX_SHARE_OF_ONE_TEXT
