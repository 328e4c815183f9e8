"""Texts in the target language or a third one are kept, dropped or translated, as is set."""

from typing import Any

import pytest
from test_translation import good, row_of, run, task_of, texts_of

from hala_hpc.engines.generation.rejection_cause import RejectionCause, classify_rejection
from hala_hpc.engines.generation.row_program import Rejection

ARABIC = [
    "أنقرة في تركيا.",
    "العاصمة هي أنقرة، وهي مدينة كبيرة.",
    "نعم",
    "افتح `make all` ثم انتظر.",
    "يستطيع VLC البث.",
    "**مرحبا** بكم",
    "السؤال ٣: ما اسمك؟",
    "هٰذَا كِتَابٌ جَدِيدٌ.",
    "القاهرة 2024",
    "اكتب قصة قصيرة عن البحر.",
    "لا أعرف.",
]
OTHER = [
    "La vieille maison rouge est au bord de la route.",
    "Дверь открыта.",
    "启动程序之前先打开文件。",
    "پیش از اجرای برنامه، پرونده را باز کنید.",
    "Öffnen Sie die Datei, bevor Sie das Programm starten.",
]
ENGLISH = [
    "the red house",
    "we see the word نهر near the old road and the garden",
    "the river α",
    "Müller",
    "a",
]


@pytest.mark.parametrize("text", [*ARABIC, *OTHER])
def test_a_text_that_is_not_in_the_source_language_stays_as_it_is(text: str) -> None:
    row, asked = run(task_of(), row_of("the red house", text), good)
    assert texts_of(row) == ["ال حمراء دار", text]
    assert len(asked) == 1


@pytest.mark.parametrize("text", ENGLISH[:3])
def test_a_text_in_the_source_language_is_translated(text: str) -> None:
    _, asked = run(task_of(), row_of(text, "the river"), good)
    assert len(asked) >= 2


@pytest.mark.parametrize(
    ("setting", "text", "reason"),
    [
        ("target_language_text", ARABIC[0], "target_language"),
        ("other_language_text", OTHER[1], "other_language"),
    ],
)
def test_a_row_with_such_a_text_is_dropped_or_translated_on_demand(
    setting: str, text: str, reason: str
) -> None:
    more: dict[str, Any] = {setting: "drop"}
    found, asked = run(task_of(**more), row_of("the red house", text), good)
    assert found == Rejection(reason)
    assert asked == []
    assert classify_rejection(reason, frozenset()) is RejectionCause.CONTENT
    more[setting] = "translate"
    _, asked = run(task_of(**more), row_of("the red house", text), good)
    assert text in [prompt.text.partition("\n\n")[2] for prompt in asked]


def test_lines_in_both_languages_stay_and_are_translated_one_by_one() -> None:
    row, asked = run(task_of(), row_of("the red house\n\nأنقرة في تركيا.\nthe river", "42"), good)
    assert texts_of(row)[0] == "ال حمراء دار\n\nأنقرة في تركيا.\nال نهر"
    assert len(asked) == 2


def test_a_text_in_the_target_language_stays_where_both_languages_have_one_script() -> None:
    german = "Öffnen Sie die Datei, bevor Sie das Programm starten."
    row, asked = run(task_of(target="de"), row_of(german, "42"), good)
    assert texts_of(row) == [german, "42"]
    assert asked == []
