"""Protected spans are found, and nothing else."""

import subprocess
import sys

import pytest

from hala_hpc.data.segmentation.spans import protected_spans, without_spans


def found(text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in protected_spans(text)]


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("before\n```py\nx = 1\n```\nafter", "fence", "```py\nx = 1\n```"),
        ("longer text\n~~~~~\nx\n~~~~~\nafter", "fence", "~~~~~\nx\n~~~~~"),
        ("~~~\nx\n~~~\nafter", "fence", "~~~\nx\n~~~"),
        ("````\n```\n````\nafter", "fence", "````\n```\n````"),
        ("- ```\n  x\n  ```\nafter", "fence", "```\n  x\n  ```"),
        ("```py\r\nx\r\n```\r\nafter", "fence", "```py\r\nx\r\n```"),
        ("```py\nprint(1)```\nafter", "fence", "```py\nprint(1)```"),
        ("never closed\n```\nx\n\ny", "fence", "```\nx\n\ny"),
        ("run ```py\nx\n\ny``` now", "code", "```py\nx\n\ny```"),
        ("a stray ``` and\n```py\nx\n```\nafter", "fence", "```py\nx\n```"),
        ("call `f(x)` now", "code", "`f(x)`"),
        ("print `prompt: ` now", "code", "`prompt: `"),
        ("call `''` now", "code", "`''`"),
        ("call ``f(`x`)`` now", "code", "``f(`x`)``"),
        ("let $x$ be", "math", "$x$"),
        ("let $3 + 4 = 7$ be", "math", "$3 + 4 = 7$"),
        (r"half $\frac{1}{2}$5", "math", r"$\frac{1}{2}$"),
        (r"let \(x + y\) be", "math", r"\(x + y\)"),
        ("then $$x\n= y$$ holds", "display", "$$x\n= y$$"),
        (r"then \[ x \] holds", "display", r"\[ x \]"),
        (
            r"so \begin{a}1\begin{b*}2\end{b*}\begin{a}\end{a}\end{a} ends",
            "environment",
            r"\begin{a}1\begin{b*}2\end{b*}\begin{a}\end{a}\end{a}",
        ),
        ("The end.\\n\\nnext", "placeholder", "\\n\\n"),
        ("The end.\\nNext", "placeholder", "\\n"),
        ("see https://a.org/b_(c)?d=%20&e.", "url", "https://a.org/b_(c)?d=%20&e"),
        ("[see](http://a.org/b), then", "url", "http://a.org/b"),
        ("انظر https://ar.wikipedia.org/wiki/علم، ثم", "url", "https://ar.wikipedia.org/wiki/علم"),
        ("try ftp://host[:port].", "url", "ftp://host[:port]"),
        ("see www.a.org!", "url", "www.a.org"),
        ("write to first.last+x@mail.a.org.", "email", "first.last+x@mail.a.org"),
        ('a <a href="x>y" class=z disabled>', "tag", '<a href="x>y" class=z disabled>'),
        ("a </tool_call> b", "tag", "</tool_call>"),
        ("a <!-- b <i> --> c", "tag", "<!-- b <i> -->"),
        ("a <code>for x in y</code> c", "tag", "<code>for x in y</code>"),
        ("a&nbsp;b", "entity", "&nbsp;"),
        ("a &#1234; b", "entity", "&#1234;"),
        *[
            (f"Dear {slot}, welcome", "placeholder", slot)
            for slot in (
                *("%s", "%d", "%1$s", "%.2f", "%(name)s", "{name}", "{0}", "{0:.2f}", "{}"),
                *(
                    "{{name}}",
                    "$side_name",
                    "$unit.name",
                    "{{ user.name | upper }}",
                    "{% if x %}",
                    "${name}",
                    "<<3+4=7>>",
                ),
            )
        ],
    ],
)
def test_a_part_that_is_not_language_is_one_protected_span(text: str, kind: str, part: str) -> None:
    assert found(text) == [(kind, part)]


@pytest.mark.parametrize(
    "text",
    [
        "it costs $5 and $10",
        "it costs 5$, 10$ or 15$",
        "from $5 to 10$ each",
        "US$5 and US$6 (US$)",
        "she makes 9*$2=$18 a day",
        "يكلف $5 و10$",
        "it is $6000 / 4 =$1500, and $.50 = $5. 3 * $2",
        "escaped \\$x$ here",
        "Title\n~~~~~\nof a section",
        "A\n\nTitle\n`````\nof a section",
        r"C:\new \nope C:\times\alpha D:\Users\me",
        "$a: Artist$b",
        "two $x\n\ny$ paragraphs",
        "one ` alone and ``quoted'' and ``again''",
        "`quoted' and `again'",
        "two ` in\n\ntwo ` paragraphs",
        r"\[see the note below\]",
        "a < b and c > d, x <b and c> y",
        "AT&T; R&D;",
        "a 5% discount, 100%d, %d8, 100 %",
        "{a, b} [1] [see: b] [ ] {x: the whole set}",
        "<<Chapter One>>",
        "mail me @ home, a@b, @name",
        "://, http://., www., aww.no",
        "",
    ],
)
def test_language_is_not_protected(text: str) -> None:
    assert found(text) == []


def test_what_starts_first_wins() -> None:
    assert found("`$x` and $y$") == [("code", "`$x`"), ("math", "$y$")]
    assert found("$`x`$") == [("math", "$`x`$")]
    assert found("https://a.org/{id}/x") == [("url", "https://a.org/"), ("placeholder", "{id}")]


def test_math_beside_math_is_two_spans() -> None:
    assert found("$HOME/$USER") == [("placeholder", "$HOME"), ("placeholder", "$USER")]
    assert found("$x$$y$ $$z$$") == [("math", "$x$"), ("math", "$y$"), ("display", "$$z$$")]


def test_without_spans_leaves_the_language() -> None:
    assert without_spans("plain") == "plain"
    assert without_spans("call `f` at <b>noon</b>").split() == ["call", "at", "noon"]


HOSTILE = [
    *("$", "`", "<", "~", "{", "%", "@", "\\", "&", " ", "\n"),
    *("$ ", "$x", "$$ ", "$$a$b", "$x\n\n", "` ", "`a``b", "``a'' ", "```\n", "\n```x", "~~~\n"),
    *("<a ", '<a b="', '<a b=\'" c="', "<!--", "<code>", "<<1=", "<? ", "{{", "{% ", "{a"),
    *(r"\(", r"\[", r"\( ", "\\(\n\n", r"\begin{a}", r"\end{a}", r"\begin{a}\end{b}"),
    *(
        "\\frac{",
        "\\frac{}",
        "\\pi a ",
        "\\a{\n\n}",
        "x^{",
        "x_{}",
        "\\emph{a b}",
        '{"a":',
        '{"',
        '["a",',
    ),
    *("[{", "[ ", "{1:{", "<b><c/>", "<tool_call>", "<?xml a?>", "x = 1;\n", "if a:\n", "    x\n"),
    *(
        "@@ -1 +99 @@\n",
        "a:\n  b:\n",
        "a: 1\n",
        r"\pi)",
        r"\pi" + ")" * 99,
        "a,b,c\n",
        "f(",
        "SELECT ",
        ">>> a\n",
        "a = ",
    ),
    *("http://", "http://)", "www.", "a@", "a@b.co", "a.", "%(", "&a", "> ", "1. ", "- "),
]

COUNT_CALLS = """
import sys
from hala_hpc.data.segmentation.spans import protected_spans

def calls(text):
    count = 0
    def tick(frame, event, value):
        nonlocal count
        count += event in ("call", "c_call")
    sys.setprofile(tick)
    protected_spans(text)
    sys.setprofile(None)
    return count

for part in PARTS:
    short, long = calls(part * 1000), calls(part * 4000)
    assert long <= 4.5 * short + 100, (part, short, long)
"""
# What a search inside of `re` reads is no call: were that quadratic, a megabyte would take hours.
READ_A_MEGABYTE = """
from hala_hpc.data.segmentation.spans import protected_spans

for part in PARTS:
    protected_spans(part * (2**20 // len(part)))
"""


def run_python(script: str) -> None:
    script = script.replace("PARTS", repr(HOSTILE))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=600)


def test_a_text_made_to_be_slow_takes_linear_work() -> None:
    run_python(COUNT_CALLS)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_megabyte_made_to_be_slow_is_read_to_its_end() -> None:
    run_python(READ_A_MEGABYTE)


def test_an_environment_that_never_closes_is_none() -> None:
    assert found(r"\begin{a} x \end{b} \begin{b} y \end{b}")[-1] == (
        "environment",
        r"\begin{b} y \end{b}",
    )
