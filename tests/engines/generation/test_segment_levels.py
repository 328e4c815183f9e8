"""The largest segment is asked first; smaller ones are asked only for what came back faulty."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from hala_hpc.data.checks.settings import CHECKS, CheckSettings
from hala_hpc.engines.generation.row_program import TRUNCATED, Answer, Prompt, Rejection
from hala_hpc.stages.translate import PairTask, Settings

BEFORE = "Translate everything that follows into Arabic:\n\n"
#: Checks of words, which mean nothing here; `copied` is left to make blocks faulty.
OF_WORDS = sorted(set(CHECKS) - {"placeholders", "markup", "structure", "lines", "copied"})
TEXT = """# The plan

We meet at noon near the old bridge.
Bring `map.txt` and water.

1. Take the left road.
2. Turn at the mill.
   - Wait there for me.

| Name | Age |
|---|---|
| Tom | 12 |

```sh
ls -l
```

> See you there."""
Model = Callable[[str], str | Answer]


def arabic(text: str) -> str:
    return re.sub(r"[A-Za-z]+", "كلمة", text)


def translate(text: str, model: Model, **more: Any) -> tuple[str | Rejection, list[Prompt]]:
    """The translation of a text, and all prompts."""
    given = {"checks": CheckSettings(disabled=OF_WORDS), **more}
    task = PairTask(Settings(model="m", corpus="c", **given))
    task.fit(1000, lambda part: len(part.split()))
    program = task.program({"id": "1", "origin": "o", "source": text, "target": ""})
    asked: list[Prompt] = []
    answers = None
    for _ in range(100):
        try:
            prompts = program.send(answers)  # type: ignore[arg-type]
        except StopIteration as end:
            return (end.value if isinstance(end.value, Rejection) else end.value["target"]), asked
        asked += prompts
        answer = [model(prompt.text.removeprefix(BEFORE)) for prompt in prompts]
        answers = [each if isinstance(each, Answer) else Answer(each) for each in answer]
    pytest.fail("no result after 100 turns")


def read(asked: list[Prompt]) -> list[str]:
    return [prompt.text.removeprefix(BEFORE) for prompt in asked]


EXPECTED = (
    arabic(TEXT).replace("`كلمة.كلمة`", "`map.txt`").replace("```كلمة\nكلمة -كلمة", "```sh\nls -l")
)


def test_each_level_asks_for_its_segments_and_makes_the_same_text() -> None:
    made, asked = translate(TEXT, arabic)
    assert made == EXPECTED
    masked = TEXT.replace("`map.txt`", "[[1]]").replace("```sh\nls -l\n```", "[[2]]")
    assert read(asked) == [masked]
    made, asked = translate(TEXT, arabic, segment="paragraph")
    assert made == EXPECTED
    assert read(asked) == [
        "The plan",
        "We meet at noon near the old bridge.\nBring [[1]] and water.",
        "1. Take the left road.\n2. Turn at the mill.\n   - Wait there for me.",
        "| Name | Age |\n|---|---|\n| Tom | 12 |",
        "See you there.",
    ]
    made, asked = translate(TEXT, arabic, segment="line")
    assert made == EXPECTED
    assert read(asked)[3:9] == [
        *("Take the left road.", "Turn at the mill.", "Wait there for me.", "Name", "Age", "Tom"),
    ]


#: What a model may do to a whole text, and the parts that are asked again.
BROKEN = {
    "a lost list marker": (("2. ", ""), ["Take the left road.", "Turn at the mill."]),
    "merged items": (("\n2. ", " "), ["Take the left road.", "Turn at the mill."]),
    "a restarted numbering": (("2. ", "1. "), ["Take the left road.", "Turn at the mill."]),
    "a lost cell": (("| 12 |", "|"), ["Name", "Age", "Tom"]),
    "a lost heading": (("# ", ""), ["The plan"]),
    "a lost quotation mark": (("> ", ""), ["See you there."]),
    "a flat item": (("   - ", "- "), ["Take the left road.", "Turn at the mill."]),
    "a lost span": (("[[1]]", "x"), ["Bring [[1]] and water."]),
    "a lost line": (("\nكلمة [[1]]", " [[1]]"), ["We meet at noon near the old bridge."]),
    "a lost paragraph": (("[[2]]\n\n", ""), ["The plan", "See you there."]),
    "one that was not translated": (("> كلمة كلمة كلمة", "> See you there"), ["See you there."]),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_only_the_part_that_came_back_broken_is_asked_in_smaller_segments(kind: str) -> None:
    (old, new), again = BROKEN[kind]
    answers = 0

    def breaks_once(text: str) -> str:
        nonlocal answers
        answers += 1
        good = arabic(text)
        if answers > 1:
            return good
        assert old in good
        return good.replace(old, new, 1)

    made, asked = translate(TEXT, breaks_once)
    assert made == EXPECTED
    assert all(part in "\n".join(read(asked)[1:]) for part in again)
    if kind != "a lost paragraph":
        assert len(asked) <= 1 + 4
    assert all(prompt.retry_reason for prompt in asked[1:])


def test_a_text_that_is_cut_is_asked_in_paragraphs_then_in_lines() -> None:
    def short(text: str) -> str | Answer:
        return Answer("", TRUNCATED) if "\n" in text else arabic(text)

    made, asked = translate(TEXT, short)
    assert made == EXPECTED
    assert [text.count("\n") > 0 for text in read(asked)[:6]] == [
        True,
        False,
        True,
        True,
        True,
        False,
    ]
    assert read(asked)[6:8] == ["We meet at noon near the old bridge.", "Bring [[1]] and water."]


def test_a_text_above_the_limit_begins_with_its_paragraphs() -> None:
    made, asked = translate(TEXT, arabic, segment_tokens=20)
    assert made == EXPECTED
    assert len(asked) == 5


def test_without_retries_nothing_is_asked_in_smaller_segments() -> None:
    made, asked = translate(TEXT, lambda text: arabic(text).replace("# ", ""), retries=0)
    assert isinstance(made, Rejection)
    assert made.reason == "structure"
    assert len(asked) == 1


def test_lines_that_a_model_broke_or_joined_in_running_text_are_no_fault() -> None:
    text = "The first sentence is here. The second one is there.\n\n- An item is long. It goes on."
    made, asked = translate(text, lambda part: arabic(part).replace(". ", ".\n"))
    assert made == arabic(text)
    assert len(asked) == 1


WRAPPED = """Dear all,

This is a long sentence that somebody has wrapped at
about fifty columns so that every line is as long as
the width of a mail, and `a span of two words` is in
it. It ends here.

> And this part of the mail is a quotation that was
> wrapped in the same way, at the same width of it.

Regards,
Tom"""


def test_a_wrapped_paragraph_is_read_as_one_line_and_wrapped_again() -> None:
    made, asked = translate(WRAPPED, arabic, segment="line")
    assert read(asked)[1] == (
        "This is a long sentence that somebody has wrapped at about fifty columns so that every"
        " line is as long as the width of a mail, and [[1]] is in it. It ends here."
    )
    assert read(asked)[3:] == ["Regards,", "Tom"]
    made, asked = translate(WRAPPED, arabic)
    assert isinstance(made, str)
    lines = made.split("\n")
    assert max(map(len, lines)) <= 52
    assert sum(line.startswith("> ") for line in lines) == 3
    assert "`a span of two words`" in made
    assert lines[-2:] == ["كلمة,", "كلمة"]
    made, _ = translate(WRAPPED, arabic, rewrap=False)
    assert isinstance(made, str)
    assert made.count("\n") == WRAPPED.count("\n") - 4
