"""Texts are translated segment by segment; a segment that fails is retried, then rejected.

The model here is a function of the prompt: no engine.
"""

from collections.abc import Callable
from typing import Any

import pytest

from hala_hpc.data.checks.settings import CheckSettings
from hala_hpc.data.corpus.reader import Row
from hala_hpc.engines.generation.rejection_cause import RejectionCause, classify_rejection
from hala_hpc.engines.generation.row_program import DEFAULT_SAMPLING, Answer, Prompt, Rejection
from hala_hpc.stages.translate import ConversationTask, PairTask, Settings, TranslationTask

#: The only English words, and what they are in Arabic.
WORDS = {
    "the": "ال", "red": "حمراء", "house": "دار", "river": "نهر", "is": "يكون", "near": "قرب",
    "long": "طويل", "and": "و", "garden": "حديقة", "we": "نحن", "see": "نرى", "a": "ما",
    "use": "استعمل", "then": "ثم", "old": "قديم", "road": "طريق", "to": "إلى",
}  # fmt: skip
Model = Callable[[Prompt], str]


def good(prompt: Prompt) -> str:
    """A translation word by word; what is not a word stays."""
    text = prompt.text.partition("\n\n")[2]
    words = [WORDS.get(word.strip(".,").lower(), word) for word in text.split(" ")]
    return " ".join(words) + ("." if text.endswith(".") and not words[-1].endswith(".") else "")


def tokens(text: str) -> int:
    return len(text.split())


def task_of(kind: type[TranslationTask] = ConversationTask, **more: Any) -> TranslationTask:
    task = kind(Settings(model="m", corpus="c", **more))
    task.fit(1000, tokens)
    return task


def run(task: Any, row: Row, model: Model) -> tuple[Any, list[Prompt]]:
    """The result of a row, and all its prompts."""
    program = task.program(row)
    asked: list[Prompt] = []
    answers = None
    for _ in range(1000):
        try:
            prompts = program.send(answers)
        except StopIteration as end:
            return end.value, asked
        asked += [prompt for prompt in prompts if not prompt.untranslated_reason]
        answers = [
            Answer(prompt.text if prompt.untranslated_reason else model(prompt))
            for prompt in prompts
        ]
    raise AssertionError(f"the row has no result after 1000 turns; asked last: {asked[-1]}")


def row_of(*texts: str, roles: tuple[str, ...] = ("user", "assistant")) -> Row:
    messages = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=True)]
    return {"id": "1", "origin": "o", "messages": messages}


def texts_of(row: Row) -> list[str]:
    return [message["content"] for message in row["messages"]]


TEXT = """# The old road

- the red house is near the river
- see `x = 1` and then the garden

```python
print("the house")
```

We see $a^2 + b^2$ near the river."""


def test_structure_and_what_is_no_language_come_back_to_the_character() -> None:
    row, asked = run(task_of(), row_of("we see the house", TEXT), good)
    made = texts_of(row)[1]
    assert "print" not in " ".join(prompt.text for prompt in asked)
    for before, after in zip(TEXT.split("\n"), made.split("\n"), strict=True):
        if not before[:1].isalpha():
            assert after[:2] == before[:2]
    for span in ("`x = 1`", '```python\nprint("the house")\n```', "$a^2 + b^2$"):
        assert span in made
    assert row["messages_source"][1]["content"] == TEXT
    assert texts_of(row)[0] == "نحن نرى ال دار"


def test_a_segment_whose_placeholder_is_lost_is_retried_around_it() -> None:
    def forgets(prompt: Prompt) -> str:
        return "نرى ثم" if "[[" in prompt.text or "⟦" in prompt.text else good(prompt)

    row, asked = run(
        task_of(), row_of("we see `code` and then the garden", "the red house"), forgets
    )
    assert "`code`" in texts_of(row)[0]
    assert {prompt.retry_reason for prompt in asked} == {"", "marks"}


def test_an_untranslated_segment_is_sampled_again_and_then_rejected() -> None:
    def stubborn(prompt: Prompt) -> str:
        return prompt.text.partition("\n\n")[2] if "river" in prompt.text else good(prompt)

    text = "we see the old river and the long road to the red house"
    result, asked = run(task_of(), row_of(text, "the red house"), stubborn)
    assert isinstance(result, Rejection)
    assert result.reason in ("copied", "wrong_language")
    assert "river" in result.response
    drawn = [prompt.sampling for prompt in asked if prompt.retry_reason]
    assert drawn
    assert drawn[0] != DEFAULT_SAMPLING


def test_a_second_draw_may_be_good() -> None:
    def moody(prompt: Prompt) -> str:
        return good(prompt) if prompt.retry_reason or "river" not in prompt.text else "river river"

    text = "we see the old river and the long road to the red house"
    row, asked = run(task_of(), row_of(text, "the red house"), moody)
    assert texts_of(row)[0] == good(asked[0])
    assert len(asked) == 3


def test_without_retries_the_first_answer_decides() -> None:
    text = "we see the old river and the long road to the red house"
    result, asked = run(task_of(retries=0), row_of(text, "the house"), lambda _: "")
    assert isinstance(result, Rejection)
    assert len(asked) == 2


def test_only_the_roles_that_are_named_are_translated() -> None:
    row, _ = run(task_of(roles=["assistant"]), row_of("we see the house", "the red house"), good)
    assert texts_of(row) == ["we see the house", "ال حمراء دار"]
    talk = row_of("see a house", "the house", "the river", roles=("tool", "user", "assistant"))
    row, _ = run(task_of(), talk, good)
    assert texts_of(row) == ["see a house", "ال دار", "ال نهر"]


def test_either_side_of_a_pair_can_be_translated() -> None:
    pair = {"id": "1", "origin": "o", "source": "maison", "target": "the red house"}
    row, _ = run(task_of(PairTask, field="target"), pair, good)
    assert (row["source"], row["target"]) == ("the red house", "ال حمراء دار")


def test_a_text_without_language_is_not_asked() -> None:
    row, asked = run(task_of(), row_of("```\nx = 1\n```", "42"), good)
    assert asked == []
    assert texts_of(row) == ["```\nx = 1\n```", "42"]


def test_digits_follow_the_policy_outside_of_code() -> None:
    checks = CheckSettings(digits="arabic_indic")
    row, _ = run(task_of(checks=checks), row_of("we see `a1` and 42 red house", "the house"), good)
    assert "`a1`" in texts_of(row)[0]
    assert "٤٢" in texts_of(row)[0]


def test_a_long_text_is_cut_into_segments_that_fit() -> None:
    text = "We see the old river near the long road. " * 40
    row, asked = run(task_of(segment_tokens=50), row_of(text.strip(), "the house"), good)
    assert len(asked) > 5
    assert max(tokens(prompt.text.partition("\n\n")[2]) for prompt in asked) <= 50
    assert texts_of(row)[0].count("نهر") == 40


#: What a translator says to each: the task done, the text as it is, and what it was given.
CONTENT_ROWS = {
    "translation_task": row_of("Translate this to French: The old red house is near the road.", ""),
    "other_language": row_of("La vieille maison rouge est au bord de la route.", ""),
    "code": row_of("total = first + second\nreturn (total)\nfor number in range(total):", ""),
}


@pytest.mark.parametrize("reason", CONTENT_ROWS)
def test_a_row_that_no_translator_can_translate_is_rejected_for_what_it_is(reason: str) -> None:
    task = task_of(other_language_text="translate")
    found, _ = run(task, CONTENT_ROWS[reason], lambda prompt: prompt.text.partition("\n\n")[2])
    assert isinstance(found, Rejection)
    assert found.reason == reason
    assert classify_rejection(found.reason, frozenset()) is RejectionCause.CONTENT


def test_a_model_that_copies_every_text_is_at_fault() -> None:
    row = row_of("The old red house is near the road and the garden.", "We see a long river.")
    found, _ = run(task_of(), row, lambda prompt: prompt.text.partition("\n\n")[2])
    assert found.reason == "copied"
    assert classify_rejection(found.reason, frozenset()) is RejectionCause.FAULT
    # So is one that says nothing, whatever the row is about.
    for row in CONTENT_ROWS.values():
        found, _ = run(task_of(other_language_text="translate"), row, lambda _: "")
        assert found.reason == "empty"
