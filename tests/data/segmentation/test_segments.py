"""A text is split into segments and literals and restored character by character."""

import random
import re
import subprocess
import sys

import pytest

from hala_hpc.data.segmentation.layout import LayoutRules, lay_out
from hala_hpc.data.segmentation.segments import (
    Layout,
    Segment,
    split_at_spans,
    split_segment,
)
from hala_hpc.data.segmentation.spans import Span, lost_spans, protected_spans


def words(text: str) -> int:
    return len(text.split())


def texts(layout: Layout) -> list[str]:
    return [segment.text for segment in layout.segments]


def only_segment(text: str) -> Segment:
    (segment,) = lay_out(text, LayoutRules(10_000, len)).segments
    assert segment.text == text
    return segment


def test_structure_is_literal_and_language_is_segments() -> None:
    text = (
        "# The title #\n\n  - one `x`\n    1. [x] two **bold**\n"
        "> quoted\n>> a) twice\n\n\tindented  \r\n* * *\n#### 18\nlast\n\n"
    )
    layout = lay_out(text, LayoutRules(1000, words))
    assert texts(layout) == [
        *("The title", "one `x`", "two **bold**", "quoted", "twice", "indented", "last"),
    ]
    assert layout.join(["X"] * 7) == (
        "# X #\n\n  - X\n    1. [x] X\n> X\n>> a) X\n\n\tX  \r\n* * *\n#### 18\nX\n\n"
    )


def test_a_table_is_translated_by_its_cells() -> None:
    text = "| Name | `a|b` is |\n|:--|---|\n| 12 | old \\| new |\n"
    layout = lay_out(text, LayoutRules(1000, words))
    assert texts(layout) == ["Name", "`a|b` is", "old \\| new"]
    assert layout.join(["X", "Y", "Z"]) == "| X | Y |\n|:--|---|\n| 12 | Z |\n"


def test_a_table_without_outer_pipes_is_known_by_its_separator() -> None:
    text = "Name | Age\n--- | ---\nTom | 12"
    assert texts(lay_out(text, LayoutRules(1000, words))) == ["Name", "Age", "Tom"]
    assert texts(lay_out("either | or", LayoutRules(1000, words))) == ["either | or"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "  \n ",
            "12 + 3 = 15!",
            "2x + y = 5 m",
            "B",
            "`code` $x$",
            "---",
            "https://a.org",
            "- \n- 3.",
        ),
        "```py\nname = 1\n```",
        "$$x\n= y$$",
        r"\begin{align}a\end{align}",
    ],
)
def test_what_holds_no_language_is_a_literal(text: str) -> None:
    assert lay_out(text, LayoutRules(1000, words)).segments == []
    assert lay_out(text, LayoutRules(1000, words)).join([]) == text


def test_blocks_never_enter_a_segment() -> None:
    text = "Before:\n```py\nname = 1\n```\nAfter $$x\n= y$$ comes\n\\begin{a}\nb\n\\end{a} last."
    assert texts(lay_out(text, LayoutRules(1000, words))) == [
        *("Before:", "After", "comes", "last."),
    ]


def test_tags_around_a_segment_stay_outside() -> None:
    text = "<p>Hello <b>you</b></p><br>\n<li>one</li>\n<b>a</b> and <b>c</b>"
    assert texts(lay_out(text, LayoutRules(1000, words))) == [
        *("Hello <b>you</b>", "one", "<b>a</b> and <b>c</b>"),
    ]


def test_a_line_that_fits_stays_one_segment_and_is_not_even_counted() -> None:
    text = "One is here. Two is there."

    def refuse(_: str) -> int:
        raise AssertionError("no token is shorter than a byte")

    assert texts(lay_out(text, LayoutRules(len(text), refuse))) == [text]


def test_over_the_limit_it_is_cut_at_sentences_then_clauses_then_words() -> None:
    text = (
        "Dr. Smith paid $3.50 at 5 p.m. today. He left **soon.** Then he slept, "
        "as he always did on such a day, until noon. one two three four five six seven eight nine"
        " ten eleven"
    )
    assert texts(lay_out(text, LayoutRules(10, words))) == [
        "Dr. Smith paid $3.50 at 5 p.m. today.",
        "He left **soon.**",
        "Then he slept,",
        "as he always did on such a day, until noon.",
        "one two three four five six seven eight nine ten",
        "eleven",
    ]


def test_arabic_is_cut_at_its_own_punctuation() -> None:
    text = "هل اشترى شيئا من السوق؟ نعم، اشترى 3.5 كيلو! ثم عاد إلى البيت؛ وكان متعبا."
    assert texts(lay_out(text, LayoutRules(5, words))) == [
        "هل اشترى شيئا من السوق؟",
        "نعم، اشترى 3.5 كيلو!",
        "ثم عاد إلى البيت؛",
        "وكان متعبا.",
    ]


def test_a_span_is_never_cut() -> None:
    text = "Call `f(a. B, c d e f g)` now or never and go"
    assert texts(lay_out(text, LayoutRules(2, words))) == [
        *("Call `f(a. B, c d e f g)`", "now or", "never and", "go"),
    ]


def test_the_model_reads_placeholders_and_spans_are_restored() -> None:
    segment = only_segment("Use `x`, then <b>`y`</b> or see https://a.org now.")
    assert segment.masked() == "Use [[1]], then [[2]] or see [[3]] now."
    assert segment.restored("now [[3]] [[2]]; [[1]]") == "now https://a.org <b>`y`</b>; `x`"
    assert segment.restored("[[١]] [[ 2 ]] [3]") == "`x` <b>`y`</b> https://a.org"


@pytest.mark.parametrize(
    "answer",
    ["[[1]] [[2]]", "[[1]] [[2]] [[3]] [[3]]", "[[1]] [[2]] [[3]] [[4]]", "[[1]] [[2]] ((3))", ""],
)
def test_a_lost_doubled_or_invented_placeholder_is_detected(answer: str) -> None:
    segment = only_segment("Use `x`, then <b>`y`</b> or see https://a.org now.")
    assert segment.restored(answer) is None


def test_placeholders_in_the_text_are_not_confused_with_ours() -> None:
    segment = only_segment("See [[2]] and `x` and [[1]].")
    assert segment.masked() == "See [[1]] and [[2]] and [[3]]."
    assert segment.restored("[[1]] [[2]] [[3]]") == "[[2]] `x` [[1]]"
    footnote = only_segment("See [1] and `x`.")
    assert footnote.restored("[1] [[1]]") == "[1] `x`"
    assert footnote.restored("[1] [1]") is None
    assert only_segment("Plain [1].").restored("[2]") == "[2]"
    assert only_segment("Plain.").restored("[[1]]") is None


def test_a_segment_split_at_its_spans_needs_no_placeholder() -> None:
    segment = only_segment("Use `x`, then <b>`y`</b> or see https://a.org. Now.")
    layout = split_at_spans(segment)
    assert texts(layout) == ["Use", "then", "or see", "Now."]
    assert all(not cut.spans for cut in layout.segments)
    assert layout.join(list("abcd")) == "a `x`, b <b>`y`</b> c https://a.org. d"


def test_smaller_is_sentences_then_halves_then_itself() -> None:
    assert texts(split_segment(only_segment("One is here. Two `a. B` is. 3."))) == [
        *("One is here.", "Two `a. B` is."),
    ]
    assert texts(split_segment(only_segment("One is, here and there"))) == [
        "One is,",
        "here and there",
    ]
    assert texts(split_segment(only_segment("One is here now"))) == ["One is", "here now"]
    assert texts(split_segment(only_segment("One"))) == ["One"]
    assert texts(split_segment(only_segment("One `a b`"))) == ["One `a b`"]


def test_lost_spans_counts_lost_and_invented_spans() -> None:
    assert lost_spans("a `x` %s `x`", "a %s `x`") == ["`x`"]
    assert lost_spans("a %s", "a %s %s") == ["%s"]
    assert lost_spans("a {x}", "a {y}") == ["{x}", "{y}"]
    assert lost_spans("{x} {{x}}", "{{x}}") == ["{x}"]
    assert lost_spans("a %s b", "a %sو b") == []
    assert lost_spans("about 100%d", "%d of 100") == []


FRAGMENTS = [
    *("Hello there. ", "Dr. Smith, who left; came (late)! ", "كيف الحال؟ ", "نعم، جيد. ", "word "),
    *("\n", "\n\n", "\r\n", "\u2028", "  ", "\t", "\xa0", "\u200f", "\n    ", " \n"),
    *("- ", "\n* ", "\n1. ", "\n a) ", "\n## ", " ##\n", "\n> ", "\n>", "\n- [ ] ", "\n---\n"),
    *("`x`", "``a`b``", "`", "\n```py\nx = 1\n\n```\n", "\n~~~\n", "```", " $x^2$ ", "$", "$5 "),
    *("$$\ny\n$$", "$$y$$", r"\(a\)", r"\[b\]", r"\begin{a}", r"\end{a}", "\\", "[[1]]", "[1]"),
    *("[", "]", "[[", "]]", "(", ")", '"', "<b>", "</b>", "<br>", "<a\nhref='x y'>", "<!--", "-->"),
    *("https://a.org/b_(c). ", "me@a.org", "&nbsp;", "%s", "%", "{name}", "{{", "}}", "<<1=1>>"),
    *(
        "\n| a | b |\n",
        "\n|---|---|\n",
        "|",
        " | ",
        "**",
        "_",
        "12",
        "3.5 ",
        "你好。世界，好",
        "é\u0301",
        "😀",
    ),
]


def generated(seed: int) -> str:
    rng = random.Random(seed)
    return "".join(rng.choice(FRAGMENTS) for _ in range(rng.randint(1, 40)))


def without_gaps(text: str) -> str:
    return "".join(text.split())


def reversed_words(text: str) -> str:
    return " ".join(re.split(r"\s+", text)[::-1])


@pytest.mark.parametrize("limit", [1, 4, 12, 10_000])
def test_generated_texts_come_back_to_the_character(limit: int) -> None:
    for seed in range(1500):
        text = generated(seed)
        layout = lay_out(text, LayoutRules(limit, words))
        assert without_gaps(layout.wrap(layout.join(texts(layout)))) == without_gaps(text), seed
        assert layout.wraps or layout.join(texts(layout)) == text, seed
        for segment in layout.segments:
            whole = segment.text
            assert whole == whole.strip(), seed
            assert len(whole.splitlines()) == 1, seed
            assert any(letter.isalpha() for letter in whole), seed
            assert segment.restored(segment.masked()) == whole, seed
            for cut in (split_at_spans(segment), split_segment(segment)):
                assert cut.join(texts(cut)) == whole, seed
                assert all(part.restored(part.masked()) == part.text for part in cut.segments)


def test_segments_of_generated_texts_keep_to_the_limit() -> None:
    for seed in range(1500):
        for segment in lay_out(generated(seed), LayoutRules(4, words)).segments:
            assert words(segment.masked()) <= 4, seed


def test_every_span_survives_a_translation_that_moves_the_words() -> None:
    for seed in range(1500):
        text = generated(seed)
        layout = lay_out(text, LayoutRules(12, words))
        answers = [
            segment.restored(reversed_words(segment.masked())) for segment in layout.segments
        ]
        around = [split_at_spans(segment) for segment in layout.segments]
        for joined in (
            layout.join([answer for answer in answers if answer is not None]),
            layout.join([cut.join(["X"] * len(cut.segments)) for cut in around]),
        ):
            for span in protected_spans(text):
                assert text[span.start : span.end] in joined, seed


def test_spans_of_a_segment_are_those_of_its_text() -> None:
    segment = only_segment("Use `x` or $y$.")
    assert segment.spans == (Span(4, 7, "code"), Span(11, 14, "math"))


HOSTILE = [
    *(
        "a ",
        "a",
        "a. ",
        ", ",
        "a, ",
        "- ",
        "> ",
        "1. ",
        "| ",
        "|",
        "|a",
        "|`a`|\n",
        "\n",
        "a\n",
        "# ",
    ),
    *("a `b` ", "<p>a", "<br>", "<br>a ", "[[1]] a ", "[[", "]]", "[1]", "(a) ", "--|--\n", " #"),
]

COUNT_CALLS = """
import sys
from hala_hpc.data.segmentation.layout import LayoutRules, lay_out
from hala_hpc.data.segmentation.segments import split_at_spans, split_segment
lay_out("a. b", LayoutRules(1, len))  # imports

def calls(text):
    count = 0
    def tick(frame, event, value):
        nonlocal count
        count += event in ("call", "c_call")
    sys.setprofile(tick)
    for segment in lay_out(text, LayoutRules(100_000_000, len)).segments:
        segment.restored(segment.masked())
        split_at_spans(segment)
    for segment in lay_out(text, LayoutRules(100, len)).segments:
        split_segment(segment)
    sys.setprofile(None)
    return count

for part in PARTS:
    short, long = calls(part * 1000), calls(part * 4000)
    assert long <= 4.5 * short + 100, (part, short, long)
"""


def test_a_text_made_to_be_slow_takes_linear_work() -> None:
    script = COUNT_CALLS.replace("PARTS", repr(HOSTILE))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=600)
