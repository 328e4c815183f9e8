"""The model reads the messages before a text and the terms of a glossary, where the prompt asks."""

import re
from typing import Any

import pytest
from corpora import conversation, pair
from plain_out import PlainInputs

from hala_hpc.data.checks.settings import CHECKS, CheckSettings
from hala_hpc.data.corpus.reader import Row
from hala_hpc.engines.generation.answer_cache import compute_answer_key
from hala_hpc.engines.generation.row_program import Answer, Prompt, Rejection
from hala_hpc.stages.translate import ConversationTask, PairTask, Settings, Translate

OF_WORDS = sorted(set(CHECKS) - {"glossary"})
PROMPT = "Before:\n{context}\nTerms:\n{glossary}\nText:\n{text}"
CHECKED = CheckSettings(disabled=OF_WORDS, glossary={"Hala": "هالة", "corpus": "مدونة"})


def translate(
    row: Row, answers: dict[str, str], **more: Any
) -> tuple[Row | Rejection, list[Prompt]]:
    """The result of a row and all prompts; the answer is the first whose key is in the text."""
    given = {"model": "m", "corpus": "c", "prompt": PROMPT, "checks": CHECKED, **more}
    kind = PairTask if "source" in row else ConversationTask
    task = kind(Settings(**given))
    task.fit(1000, lambda part: len(part.split()))
    program = task.program(row)
    asked: list[Prompt] = []
    turn = None
    while True:
        try:
            prompts = program.send(turn)  # type: ignore[arg-type]
        except StopIteration as end:
            return end.value, asked
        asked += prompts
        texts = [prompt.text.partition("Text:\n")[2] for prompt in prompts]
        turn = [
            Answer(next((answer for key, answer in answers.items() if key in text), "نعم"))
            for text in texts
        ]


def context_of(prompt: Prompt) -> str:
    found = re.search(r"Before:\n(.*)\nTerms:", prompt.text, re.DOTALL)
    assert found
    return found[1]


def test_a_message_is_read_after_the_source_of_those_before_it() -> None:
    row = conversation("Be kind.", "Red or blue?", "Blue.")
    _, asked = translate(row, {}, context="previous")
    assert [context_of(prompt) for prompt in asked] == [
        "",
        "system: Be kind.",
        "system: Be kind.\n\nuser: Red or blue?",
    ]
    _, asked = translate(row, {}, prompt="{text}")
    assert [prompt.text for prompt in asked] == ["Be kind.", "Red or blue?", "Blue."]


def test_messages_that_are_not_translated_are_part_of_the_context() -> None:
    row = conversation("Be kind.", "Red or blue?", "Blue.")
    _, asked = translate(row, {}, context="previous", roles=["assistant"])
    assert [context_of(prompt) for prompt in asked] == ["system: Be kind.\n\nuser: Red or blue?"]


def test_a_context_is_cut_to_its_last_tokens() -> None:
    row = conversation("one two three four five six seven eight nine ten", "Yes?")
    _, asked = translate(row, {}, context="previous", context_tokens=4)
    assert context_of(asked[1]) == "… eight nine ten"


def test_equal_messages_with_different_contexts_are_different_requests() -> None:
    first = translate(conversation("Red or blue?", "Yes."), {}, context="previous")[1]
    second = translate(conversation("Is it so?", "Yes."), {}, context="previous")[1]
    assert compute_answer_key(first[1]) != compute_answer_key(second[1])
    alone = [
        translate(conversation(text, "Yes."), {}, prompt="{text}")[1][1] for text in ("So?", "No?")
    ]
    assert compute_answer_key(alone[0]) == compute_answer_key(alone[1])


def test_a_prompt_has_only_the_terms_that_occur_and_the_check_wants_them() -> None:
    row = pair("The Corpus is new.", "")
    made, asked = translate(row, {"Corpus": "المدونة جديدة."})
    assert "Terms:\ncorpus = مدونة\nText:" in asked[0].text
    assert made["target"] == "المدونة جديدة."  # type: ignore[index]
    made, asked = translate(row, {"Corpus": "النص جديد."})
    assert isinstance(made, Rejection)
    assert made.reason == "glossary"
    _, asked = translate(pair("Nothing here, `Hala`.", ""), {})
    assert "Terms:\n\nText:" in asked[0].text


def test_context_and_terms_do_not_count_for_the_length_of_an_answer() -> None:
    _, asked = translate(conversation("Red or blue?", "Yes, Hala."), {}, context="previous")
    assert asked[1].context_characters == len("system: Red or blue?") + len("Hala = هالة")


@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        ({"context": "previous", "prompt": "{text}"}, "context=previous: prompt='{text}' has no"),
        ({"prompt": "{context} {text}"}, "context=none: prompt has {context}"),
        ({"prompt": "{glossary} {text}"}, "checks.glossary={}: prompt has {glossary}"),
    ],
)
def test_a_placeholder_without_its_setting_is_a_mistake(
    given: dict[str, Any], mistake: str
) -> None:
    (found,) = Translate(
        Settings(**{"model": "@m", "corpus": "@c", **given}), PlainInputs()
    ).preflight()
    assert found.startswith(mistake)
