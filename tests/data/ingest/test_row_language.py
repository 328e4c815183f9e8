"""Rows of other languages and rows with tools are rejected and counted by reason."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command_line import launch
from plain_out import run_plain

from hala_hpc.data.corpus.reader import read_part

ENGLISH = [
    ("How do I plant a tree in my garden?", "Dig a hole twice as wide as the roots, and water it."),
    ("Hi!", "Hello."),
    ("Define hygge.", "A word of the Danes for warmth in good company; they say it all the time."),
    ("Write it in C.", "```c\nint main(void) { return 0; }\n```"),
    ("Solve $x^2 + 2x + 1 = 0$.", "$$x = \\frac{-2 \\pm \\sqrt{4 - 4}}{2} = -1$$"),
    ("What does «добро пожаловать» mean, and when do people say it?", "It means welcome."),
    ("1, 2, 3?", "4, 5, 6."),
]
OTHERS = [
    ("¿Cómo se planta un árbol en el jardín de mi casa?", "Cava un hoyo y riega bien el árbol."),
    ("如何在我的花园里种一棵树?我应该什么时候浇水?", "挖一个两倍于根部宽度的洞,然后浇水。"),
    ("Как посадить дерево в моём саду?", "Выкопайте яму и полейте дерево."),
    # A short question in a language of the same letters is detected by its answer.
    ("Bonjour !", "Bonjour, comment puis-je vous aider aujourd'hui dans votre travail ?"),
    # One half is in another language, as in translation tasks.
    (
        "Translate into German: the tree is old and tall.",
        "Der Baum ist alt und sehr hoch gewachsen.",
    ),
]


def talk(question: str, answer: str, **more: str) -> dict[str, Any]:
    turns = [("system", "Réponds toujours dans la langue de la question, s'il te plaît.")]
    turns += [("user", question), ("assistant", answer)]
    return {"messages": [{"role": role, "content": text} for role, text in turns], **more}


def prepared(folder: Path, rows: list[Any], **settings: Any) -> tuple[Counter[str], list[Any]]:
    """Rejections by reason and the accepted rows of a corpus of one unit."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = run_plain("prepare", {"data": str(path), "units": 1} | settings, folder)
    assert out.facts is not None
    accepted = list(read_part(out.folder(0) / "part-00000.parquet"))
    assert out.facts.rows_in == len(rows) == len(accepted) + out.facts.rows_rejected
    return Counter(out.facts.rejected), accepted


def test_rows_of_other_languages_are_left_out_and_counted(tmp_path: Path) -> None:
    # Most rows are rejected: as requested, so it is no fault of the data.
    rows = [talk(*texts) for texts in [*ENGLISH, *OTHERS]]
    rejected, accepted = prepared(tmp_path, rows, only_languages="en")
    assert rejected == {"other-language": len(OTHERS)}
    assert {row["messages"][1]["content"] for row in accepted} == {asked for asked, _ in ENGLISH}


def test_several_languages_can_be_wanted(tmp_path: Path) -> None:
    rows = [talk(*texts) for texts in [*ENGLISH, *OTHERS]]
    rejected, _ = prepared(tmp_path, rows, only_languages=["en", "es", "zh-Hans", "de"])
    assert rejected == {"other-language": 2}


def test_no_row_is_rejected_unless_a_language_is_named(tmp_path: Path) -> None:
    assert prepared(tmp_path, [talk(*texts) for texts in OTHERS])[0] == {}


def test_a_column_with_a_language_code_decides(tmp_path: Path) -> None:
    english, spanish = ENGLISH[0], OTHERS[0]
    rows = [
        talk(*spanish, lang="en-GB"),
        talk("Hi!", "Hello.", lang="de"),
        talk(*english, lang="python"),
        talk(spanish[0], "No.", lang="unknown"),
        talk(*OTHERS[1]),
    ]
    settings = {"only_languages": "en", "language_field": "lang"}
    rejected, accepted = prepared(tmp_path, rows, **settings)
    assert rejected == {"other-language": 3}
    assert [row["messages"][1]["content"] for row in accepted] == [spanish[0], english[0]]


def test_the_source_of_a_pair_decides(tmp_path: Path) -> None:
    rows = [
        {"source": "The tree is old and very tall.", "target": "الشجرة قديمة وطويلة جدا."},
        {"source": "الشجرة قديمة وطويلة جدا.", "target": "The tree is old and very tall."},
    ]
    rejected, accepted = prepared(tmp_path, rows, only_languages="en")
    assert (rejected, len(accepted)) == ({"other-language": 1}, 1)


def test_rows_with_tools_are_counted_apart_and_are_no_fault_of_the_data(tmp_path: Path) -> None:
    question = [
        {"from": "human", "value": "What is 2 + 3?"},
        {"from": "gpt", "value": "Let me see."},
    ]
    answer = [{"from": "tool", "value": "5"}, {"from": "gpt", "value": "It is 5."}]
    rows = [{"conversations": [*question, *answer], "id": number} for number in range(9)]
    every = [*rows, {"conversations": question}]
    rejected, accepted = prepared(tmp_path, every, tool_use="reject")
    assert (rejected, len(accepted)) == ({"tool-use": 9}, 1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["only_languages=eng"], "unknown language code 'eng'; give codes such as en, fr, ar"),
        (["language_field=lang"], "language_field is set without only_languages"),
    ],
)
def test_languages_that_mean_nothing_are_refused(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[rows]\nstage = "prepare"\ndata = "{tmp_path}/rows.jsonl"\n')
    arguments = [f"rows.{override}" for override in overrides]
    ended = launch("stage=all", f"recipe={recipe}", f"work={tmp_path}/work", *arguments)
    assert (ended.code, message in ended.err) == (64, True), ended
