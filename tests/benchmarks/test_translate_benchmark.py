"""The measurement of translation: its work is as described, and it runs to its figures."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

from benchmarks.translate.engine import Tally
from benchmarks.translate.workload import stand_in, texts_of, with_duplicates
from hala_hpc.core.errors import BAD_DATA, UserError

#: Seconds after which the measurement is taken not to end: it starts three real engines in turn.
LIMIT_S = 1000
KEYS = {
    "ratio_to_raw",
    "ratio_to_datatrove",
    "ratio_to_raw_duplicates",
    "step_efficiency",
    "prefix_hits",
    "memory_growth",
}


def test_a_stand_in_changes_english_words_only() -> None:
    text = "Call `run(x)` at https://a.example 3 times,\n\tdear {name}: 50 %s [[1]] \\alpha"
    made = stand_in(text)
    for unchanged in (
        "`run(x)`",
        "https://a.example",
        " 3 ",
        ",\n\t",
        "{name}: 50 %s [[1]] \\alpha",
    ):
        assert unchanged in made
    assert not {"Call", "times", "dear"} & set(made.split())
    assert made == stand_in(text)


def test_made_texts_are_as_many_as_asked_and_all_different() -> None:
    texts = texts_of([], 300, seed=1)
    assert len(set(texts)) == 300
    assert texts == texts_of([], 300, seed=1)
    assert max(len(text.split()) for text in texts) > 4 * min(len(text.split()) for text in texts)


def test_too_few_texts_are_a_mistake_that_names_the_files(tmp_path: Path) -> None:
    file = tmp_path / "few.jsonl"
    file.write_text('{"instruction": "Name a town.", "input": ""}\n' * 3)
    with pytest.raises(UserError, match=r"few\.jsonl: 1 different texts, need 2") as caught:
        texts_of([file], 2, seed=0)
    assert caught.value.code == BAD_DATA


def test_the_share_of_duplicates_is_what_was_asked() -> None:
    texts = [str(n) for n in range(1000)]
    repeated = with_duplicates(texts, 0.3, random.Random(0))
    assert (len(repeated), len(set(repeated))) == (1000, 700)


def test_the_minimum_of_steps_follows_the_longest_answer_or_the_sum_of_all() -> None:
    assert Tally(tokens_out=1001, longest_out=40).lower_bound(10) == 101
    assert Tally(tokens_out=1001, longest_out=400).lower_bound(10) == 400


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(LIMIT_S + 100)
def test_a_quick_measurement_prints_its_figures_last(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.translate", "--quick"]
    nowhere = ["--peer", str(tmp_path / "nowhere")]
    done = subprocess.run(
        command + nowhere, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) >= KEYS
    assert found["ratio_to_datatrove"] is None
    assert found["rounds"][0]["worker"]["tokens_in"] == found["rounds"][0]["raw_tokens_in"]
    assert found["step_efficiency"] > 0.9
    assert found["prefix_hits"] > 0.9
