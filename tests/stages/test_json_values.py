"""Prose in values of JSON is translated if the setting says so; nothing else of JSON ever is.

The model here writes an Arabic word with a quotation sign in it for each English one: no engine.
"""

import json
import re
from typing import Any

import pytest

from hala_hpc.data.checks.settings import CHECKS, CheckSettings
from hala_hpc.engines.generation.row_program import Answer, Rejection
from hala_hpc.stages.translate import PairTask, Settings, text_fault

#: Checks of the words, which mean nothing here.
OF_WORDS = sorted(set(CHECKS) - {"placeholders", "markup", "structure"})
WORD = 'كل"مة'


def translate(text: str, **given: Any) -> str:
    """The translation of a text, which has no fault when it is read back."""
    checks = CheckSettings(disabled=OF_WORDS)
    task = PairTask(Settings(model="m", corpus="c", checks=checks, segment="line", **given))
    task.fit(1000, lambda part: len(part.split()))
    row = {"id": "1", "origin": "o", "source": text, "target": ""}
    program = task.program(row)
    answers = None
    while True:
        try:
            prompts = program.send(answers)  # type: ignore[arg-type]
        except StopIteration as end:
            made = end.value
            break
        parts = [prompt.text.partition("\n\n")[2] for prompt in prompts]
        answers = [Answer(re.sub("[A-Za-z]+", WORD, part)) for part in parts]
    if isinstance(made, Rejection):
        pytest.fail(f"{text!r} was rejected: {made}")
    assert task.fault(row, made) == ""
    return str(made["target"])


PROSE = [
    "Ankara is in Turkey.",
    "Say the word now please",
    'The "big" house is red.',
    "The house is red.\nThe garden is green.",
    "A path C:\\new is long and old.",
]
SHORT = ["Ankara", "get_weather", "https://a.org/x", "", "red", "A B", "2026-12-01", "gpt-4 turbo"]


def test_prose_in_values_is_translated_and_escaped() -> None:
    for prose in PROSE:
        for data in (
            {"answer": prose, "n": -1.5e3, "ok": None},
            {"Say the word now please": [prose, {"more": [prose, "Ankara"]}]},
            [{"role": "user", "content": prose}],
        ):
            for text in (json.dumps(data), json.dumps(data, indent=2)):
                made = translate(text, json_values="translate")
                # The structure to the character: the same text but for the values.
                assert json.dumps(json.loads(made)).count(json.dumps(WORD)[1:-1]) >= 4, made
                before, after = (re.sub(r'"(?:[^"\\]|\\.)*"', '""', side) for side in (text, made))
                assert before == after, (text, made)
                assert translate(text) == text


def test_keys_short_values_and_other_data_stay_as_they_are() -> None:
    for value in SHORT:
        text = json.dumps({"The key of the value": value, "n": [1, 2.50, True]})
        assert translate(text, json_values="translate") == text
    for text in (
        '<tool_call>{"name": "say", "arguments": {"text": "Say this to the man."}}</tool_call>',
        "{'text': 'The house is red here.'}",
        '```json\n{"text": "The house is red here."}\n```',
        '{"broken": "\\ud83d is half of a sign."}',
        "name: deploy\non:\n  push:\n    branches:\n      - main",
    ):
        assert translate(text, json_values="translate") == text


def test_the_text_around_json_is_translated_as_well() -> None:
    text = 'See this:\n\n{"text": "The house is red."}\n\nThe end {"city": "Ankara"} is here.'
    made = translate(text, json_values="translate")
    values = f"{WORD} {WORD} {WORD} {WORD}."
    data = json.dumps({"text": values}, ensure_ascii=False)
    assert made.split("\n\n")[1:] == [data, f'{WORD} {WORD} {{"city": "Ankara"}} {WORD} {WORD}.']


def test_another_key_number_or_short_value_is_a_fault() -> None:
    source = '{"city": "Ankara", "n": 5, "answer": "Ankara is in Turkey."}'
    good = '{"city": "Ankara", "n": 5, "answer": "أنقرة في تركيا."}'
    assert text_fault(source, good, "translate") == ""
    assert "more or less often" in text_fault(source, good)
    for answer in (
        good.replace("Ankara", "أنقرة"),
        good.replace("5", "6"),
        good.replace("city", "مدينة"),
        good.replace("}", ""),
        good.replace(": 5", ":5"),
        good.replace(" في", '"في'),
        "أنقرة",
    ):
        assert "more or less often" in text_fault(source, answer, "translate"), answer
