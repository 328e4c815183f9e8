"""Tasks about other languages, other languages and code are distinguished from model faults."""

import pytest

from hala_hpc.data.checks.content import (
    ContentKind,
    code_share,
    explain_rejection,
    is_other_language,
    is_translation_task,
)

TASKS = [
    "Translate the following sentence to French:\n\nThe door is open.",
    "The door is open.\n\nCould you please translate this into Czech?",
    "Translate from Finnish to English: Ovi on auki.",
    'How do you say "The door is open. She is here." in German?',
    "Write a sentence not in English, but in Swahili.",
    "In this task, you are given a sentence in the Hindi language. Convert it into English.",
    "Q: What is the Spanish translation of this?",
    "English: The door is open.\nPortuguese:",
    "Given the sentence in English, provide an equivalent paraphrased translation in Polish.",
]
NO_TASKS = [
    "The book was translated into French in 1987 and sold a million copies.",
    "Write a letter to polish your style before you send it in.",
    "Answer the question in English. Who wrote the Odyssey?",
    "Put the bread in the oven. Latin America is far away.",
    "Say what you think. The Germans were in France then.",
    "Convert ten miles to kilometres and write the result in words.",
]
FRENCH = "La porte est ouverte et la fille lit un livre chaque soir dans la cuisine."
PROSE = "The door is open and the girl reads a book every evening in the kitchen."
PROGRAM = """def add(first, second):
    total = first + second
    return (total)

print(add(1, 2))
for number in range(10):
    total = add(total, number)
"""


@pytest.mark.parametrize("text", TASKS)
def test_a_task_about_another_language_is_detected(text: str) -> None:
    assert is_translation_task(text)


@pytest.mark.parametrize("text", [*NO_TASKS, PROSE, PROGRAM])
def test_what_only_speaks_of_languages_is_no_task(text: str) -> None:
    assert not is_translation_task(text)


def test_text_in_another_language_is_detected() -> None:
    assert is_other_language(FRENCH, "en")
    assert is_other_language("Дверь открыта, и девочка читает книгу.", "en")
    assert not is_other_language(PROSE, "en")
    assert not is_other_language(FRENCH, "fr")
    assert not is_other_language("OK", "en")


def test_code_is_detected_with_and_without_a_fence() -> None:
    assert code_share(PROGRAM) > 0.9
    assert code_share(f"Here it is:\n```python\n{PROGRAM}```\n") > 0.5
    assert code_share(PROSE) == 0.0
    assert code_share(f"{PROSE} Use `print` for it.") < 0.2
    assert code_share("1 2 3") == 0.0


def test_content_explains_some_reasons_and_leaves_the_others_to_the_model() -> None:
    assert explain_rejection("copied", PROSE, [], "en") is None
    assert explain_rejection("copied", PROSE, [TASKS[0]], "en") is ContentKind.TRANSLATION_TASK
    assert explain_rejection("wrong_language", FRENCH, [], "en") is ContentKind.OTHER_LANGUAGE
    assert explain_rejection("placeholders", PROGRAM, [], "en") is ContentKind.CODE
    for reason in ("empty", "template_leak", "truncated", "out_of_memory", "too_long"):
        assert explain_rejection(reason, TASKS[0], [FRENCH, PROGRAM], "en") is None
