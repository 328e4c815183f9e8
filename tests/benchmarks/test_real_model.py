"""What `make rehearsal-real` measures with, apart from the model."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
from checkout import ROOT

from benchmarks.real_model.__main__ import HERE, write_recipe
from benchmarks.real_model.manual_pages import paragraphs_of
from benchmarks.real_model.retention import change, mean_of, wilson
from hala_hpc.commands.command_line import parse_command_line


def test_the_questions_are_well_formed_and_no_letter_is_right_more_often() -> None:
    rows = [json.loads(line) for line in (HERE / "questions.jsonl").read_text().splitlines()]
    assert len(rows) == 100
    assert len({row["question"] for row in rows}) == 100
    assert all(len(set(row["choices"])) == 4 for row in rows)
    assert Counter(row["answer"] for row in rows) == dict.fromkeys(range(4), 25)


def test_the_recipe_is_a_recipe(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tmp_path / "model", ROOT / "hala_hpc/demo/alpaca.jsonl")
    command_line = parse_command_line(
        [f"recipe={recipe}", "stage=all", "launcher=local", f"work={tmp_path}"]
    )
    stages = {node.stage.name for node in command_line.nodes.values()}
    assert stages >= {"quantize", "filter", "translate", "tokenize", "sft", "merge", "evaluate"}


PAGE = r"""
.TH LS 1
.SH DESCRIPTION
.PP
List \fBinformation\fP about the files \- the current directory by default. Sort entries in the
order of the alphabet if none of the options that name an order is given, and leave out those
whose names begin with a dot unless they are asked for by one of the options that are told of
in what follows here.
.TP
\fB\-a\fR
do not ignore entries starting with .
"""


def test_prose_of_a_manual_page_is_separated_from_its_options() -> None:
    (text,) = paragraphs_of(PAGE)
    assert text.startswith("List information about the files - the current directory")
    assert text.endswith("in what follows here.")


def test_intervals_are_those_of_the_books() -> None:
    # Newcombe (1998), table I: 81 of 263.
    low, high = wilson(81, 263)[1:]
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert mean_of([1.0, 2.0, 3.0])[0] == pytest.approx(2.0)
    same = change([1.0, 2.0, 4.0], [1.1, 2.1, 4.1])
    assert same.value == pytest.approx(math.exp(0.1))
    assert same.low == pytest.approx(same.high)
