"""tokenize: every row is trained on, held out or rejected, whatever the settings are."""

import json
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from command_line import launch
from corpora import conversation, row_id, write_corpus
from plain_out import PlainInputs
from tiny_models import make_tokenizer
from token_folders import make_tokens, tokenized

from hala_hpc.core.errors import UserError
from hala_hpc.data.corpus.reader import part_name
from hala_hpc.data.corpus.writer import CorpusWriter
from hala_hpc.engines.generation.prompts import Prompter
from hala_hpc.engines.training.dataset import load_training_data
from hala_hpc.engines.training.tokens.examples import IGNORE_INDEX

NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def talk(number: int) -> dict[str, Any]:
    """A conversation that differs from all others."""
    digits = " ".join(NUMBERS[int(digit)] for digit in str(number))
    return conversation("Count.", f"What is {number}?", f"It is {digits}.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer and two corpora of conversations."""
    folder = tmp_path_factory.mktemp("tokenize")
    make_tokenizer(folder / "model")
    write_corpus(folder / "few", [talk(number) for number in range(40)])
    many = [talk(number) for number in range(100, 400)]
    write_corpus(folder / "many", [*many, conversation("Count.", "And?"), talk(10**30)])
    return folder


def settings(folder: Path, *corpora: str, **more: Any) -> dict[str, Any]:
    """Settings of the stage for corpora of the folder."""
    train = [str(folder / name) for name in corpora]
    return {"model": str(folder / "model"), "train": train, "max_length": 96, **more}


def rows_of(dataset: Any) -> Counter[tuple[int, ...]]:
    """The rows of a data set by their tokens."""
    return Counter(tuple(row["input_ids"]) for row in dataset or [])


def load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_every_row_is_trained_held_out_or_rejected_with_a_reason(
    folder: Path, tmp_path: Path
) -> None:
    made = tokenized(tmp_path, **settings(folder, "few", "many", held_out=0.1, units=3))
    markers = made.markers.values()
    assert sum(marker.rows_in for marker in markers) == 342
    assert sum((Counter(marker.rejected) for marker in markers), Counter()) == {
        "no_answer": 1,
        "too_long": 1,
    }
    facts = load_training_data(tmp_path / "tokens").facts
    assert facts.rows + facts.held_out_rows == 340
    assert 15 <= facts.held_out_rows <= 60
    assert facts.length_p50 < facts.length_p95 <= facts.length_max <= 96


def test_units_change_neither_what_is_held_out_nor_what_is_left_out(
    folder: Path, tmp_path: Path
) -> None:
    options = settings(folder, "few", "many", held_out=0.1, weights=[2.5, 0.5])
    one, several = (
        load_training_data(make_tokens(tmp_path / str(units), **options | {"units": units}))
        for units in (1, 7)
    )
    assert rows_of(one.held_out) == rows_of(several.held_out)
    assert rows_of(one.train) == rows_of(several.train)
    other = load_training_data(make_tokens(tmp_path / "seed", **options, seed=1))
    assert rows_of(one.held_out) != rows_of(other.held_out)


def test_a_row_that_is_held_out_is_never_trained_not_even_from_another_corpus(
    folder: Path, tmp_path: Path
) -> None:
    options = settings(folder, "few", "many", "few", held_out=0.2, weights=[3, 1, 0.5])
    data = load_training_data(make_tokens(tmp_path, **options))
    assert len(data.held_out) > 30
    assert not rows_of(data.held_out).keys() & rows_of(data.train).keys()


def test_weights_repeat_rows_or_leave_them_out_with_a_reason(folder: Path, tmp_path: Path) -> None:
    options = {"units": 2, "held_out": 0.0, "weights": [2.0, 0.5]}
    made = tokenized(tmp_path, **settings(folder, "few", "many", **options))
    data = load_training_data(tmp_path / "tokens")
    left_out = sum(marker.rejected["weight"] for marker in made.markers.values())
    assert 110 <= left_out <= 190
    assert data.facts.rows_repeated == 40
    times = Counter(rows_of(data.train).values())
    assert times[2] == 40
    assert sum(marker.rows_out for marker in made.markers.values()) == times[1] + times[2]
    assert data.facts.sequences == times[1] + 2 * times[2] == len(data.train)


def test_a_long_row_is_cut_into_segments_without_losing_a_token(
    folder: Path, tmp_path: Path
) -> None:
    options = settings(folder, "many")
    whole = load_training_data(
        make_tokens(tmp_path / "whole", **options | {"max_length": 5000})
    ).train
    split = load_training_data(make_tokens(tmp_path / "split", **options, long_rows="split"))
    assert split.facts.rows == len(whole)
    assert split.lengths.max() == 96
    tokens, labels = (
        [number for row in split.train for number in row[name]] for name in ("input_ids", "labels")
    )
    assert tokens == [number for row in whole for number in row["input_ids"]]
    labels_whole = [number for row in whole for number in row["labels"]]
    changed = [
        n for n, (one, two) in enumerate(zip(labels, labels_whole, strict=True)) if one != two
    ]
    # Only the first token of a later segment has no label: no earlier token predicts it.
    ends = split.lengths.cumsum().tolist()
    assert set(changed) <= set(ends)
    assert len(changed) == len(split.train) - len(whole) > 0


def test_only_the_answers_are_trained(folder: Path, tmp_path: Path) -> None:
    data = load_training_data(make_tokens(tmp_path, **settings(folder, "few")))
    tokenizer = load_tokenizer(tmp_path / "tokens" / "tokenizer")
    texts = {
        tokenizer.decode([number for number in row["labels"] if number != IGNORE_INDEX])
        for row in data.train
    }
    expected = {talk(number)["messages"][-1]["content"] + "<|im_end|>" for number in range(40)}
    assert texts == expected


def test_a_tokenizer_without_a_chat_template_is_given_one(folder: Path, tmp_path: Path) -> None:
    make_tokenizer(tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").unlink()
    options = settings(folder, "few") | {"model": str(tmp_path / "model")}
    data = load_training_data(make_tokens(tmp_path / "chat", **options))
    assert data.facts.template_supplied
    # As in the model that is trained on it.
    supplied = load_tokenizer(tmp_path / "chat" / "tokens" / "tokenizer")
    assert len(supplied) == len(load_tokenizer(folder / "model"))
    row = talk(7)["messages"][1:]
    assert supplied.apply_chat_template(row, tokenize=False) == (
        "### User:\nWhat is 7?\n### Assistant:\nIt is eight.<|im_end|>\n"
    )
    asked = [["Count.", "What is 7?"]]
    heads = [supplied.decode(ids) for ids in Prompter(supplied).ids([text for _, text in asked])]
    rows = [supplied.decode(row["input_ids"]) for row in data.train]
    (found,) = [text for text in rows if "What is 7?" in text]
    assert found == f"### System:\nCount.\n{heads[0]}It is eight.<|im_end|>"
    plain = load_training_data(make_tokens(tmp_path / "plain", **options, prompt_style="plain"))
    assert not plain.facts.template_supplied
    assert "###" not in supplied.decode(plain.train[0]["input_ids"])


def test_all_messages_of_a_translated_conversation_share_its_fate(
    folder: Path, tmp_path: Path
) -> None:
    with CorpusWriter(tmp_path / "both" / part_name(0), "translations") as writer:
        for number in range(60):
            row = talk(number)
            sides = {
                "messages": row["messages"],
                "messages_source": [
                    {"role": m["role"], "content": f"{number} {n}"}
                    for n, m in enumerate(row["messages"])
                ],
            }
            writer.add({"id": row_id(number), "origin": "test", **sides})
    options = settings(tmp_path, "both") | {"model": str(folder / "model"), "held_out": 0.3}
    data = load_training_data(
        make_tokens(tmp_path, **options, objective="translate", prompt="Say {text}")
    )
    read = load_tokenizer(folder / "model")
    trained, measured = (
        Counter(read.decode(row["input_ids"]).split()[2] for row in rows)
        for rows in (data.train, data.held_out)
    )
    assert set(trained.values()) == set(measured.values()) == {3}
    assert len(trained) + len(measured) == 60


def test_no_row_to_train_on_is_a_mistake_with_the_reasons(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        make_tokens(tmp_path, **settings(folder, "few") | {"max_length": 4})
    assert "40 of 40 rows are rejected (too_long 40)" in str(caught.value)
    assert "raise max_length" in str(caught.value)
    lenient = settings(folder, "few") | {"max_length": 4, "max_rejected_fraction": 1.0}
    with pytest.raises(UserError) as caught:
        make_tokens(tmp_path / "lenient", **lenient)
    assert "40 read, rejected {'too_long': 40}, held out 0" in str(caught.value)


def test_a_file_that_lost_a_row_is_not_committed(folder: Path, tmp_path: Path) -> None:
    options = settings(folder, "few", units=2, held_out=0.0)
    made = tokenized(tmp_path, **options)
    place = made.folder(0)
    (made.folder(1) / "part-00001.arrow").rename(place / "part-00000.arrow")
    with pytest.raises(UserError, match="does not contain the examples that were written"):
        made.stage.check(0, place)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"train": []}, "no corpus; give at least one"),
        ({"weights": [1.0, 2.0]}, "2 numbers for 1 corpora; give one per corpus"),
        ({"objective": "translate", "prompt": "Translate"}, "no field {text}"),
    ],
)
def test_mistakes_are_found_before_a_job_is_submitted(
    folder: Path, change: dict[str, Any], text: str
) -> None:
    stage = import_module("hala_hpc.stages.tokenize").STAGE
    options = {"model": str(folder / "model"), "train": "@corpus"} | change
    (fault,) = stage(stage.Settings(**options), PlainInputs()).preflight()
    assert text in fault


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("tokens.weights=0", "greater than 0"),
        ("tokens.weights=nan", "finite number"),
        ("tokens.held_out=1", "less than 1"),
        ("tokens.max_length=1", "greater than or equal to 2"),
        ("tokens.train=/no/such/corpus", "there is no such folder"),
        ("tokens.model=tests", "no tokenizer"),
    ],
)
def test_nonsense_is_refused_by_name(
    folder: Path, tmp_path: Path, override: str, text: str
) -> None:
    ended = launch("stage=all", recipe_of(folder, tmp_path), f"work={tmp_path}/work", override)
    assert ended.code != 0
    assert text in ended.err
    assert not (tmp_path / "work").exists()


def recipe_of(folder: Path, base: Path) -> str:
    """A recipe with one node that tokenizes."""
    recipe = base / "recipe.toml"
    recipe.write_text(
        f'[tokens]\nstage = "tokenize"\nmodel = "{folder}/model"\ntrain = "{folder}/few"\n'
        "units = 3\nmax_length = 96\n"
    )
    return f"recipe={recipe}"


@pytest.mark.slow
def test_a_launch_makes_token_files_and_the_same_command_finds_them_done(
    folder: Path, tmp_path: Path
) -> None:
    overrides = (
        "stage=all",
        recipe_of(folder, tmp_path),
        f"work={tmp_path}/work",
        "launcher=local",
    )
    ended = launch(*overrides)
    assert ended.code == 0, ended
    output = tmp_path / "work" / "latest" / "tokens" / "output"
    summary = json.loads((output.parent / "summary.json").read_text())
    data = load_training_data(output)
    assert summary["rows_in"] == summary["rows_out"] == 40
    assert len(data.train) == summary["details"]["rows"] == data.facts.rows
    assert (output / "tokenizer" / "tokenizer.json").is_file()
    assert "nothing to submit" in launch(*overrides).out
