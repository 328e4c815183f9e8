"""What is no language comes back from translate to the character, and the prose around it does not.

The model here writes an Arabic word for each English one: no engine.
"""

import re

import pytest

from hala_hpc.data.checks.settings import CHECKS, CheckSettings
from hala_hpc.data.segmentation.spans import lost_spans
from hala_hpc.engines.generation.row_program import Answer, Rejection
from hala_hpc.stages.translate import PairTask, Settings, text_fault

#: Checks of the words, which mean nothing here.
OF_WORDS = sorted(set(CHECKS) - {"placeholders", "markup", "structure"})
PROMPT = "Translate everything that follows into Arabic:\n\n"


def translate(text: str) -> tuple[str, str]:
    """The translation of a text, and all that the model read."""
    checks = CheckSettings(disabled=OF_WORDS)
    task = PairTask(Settings(model="m", corpus="c", checks=checks, segment="line"))
    task.fit(1000, lambda part: len(part.split()))
    program = task.program({"id": "1", "origin": "o", "source": text, "target": ""})
    read: list[str] = []
    answers = None
    while True:
        try:
            prompts = program.send(answers)  # type: ignore[arg-type]
        except StopIteration as end:
            if isinstance(end.value, Rejection):
                pytest.fail(f"{text!r} was rejected: {end.value}")
            return end.value["target"], "\n".join(read)
        parts = [prompt.text.removeprefix(PROMPT) for prompt in prompts]
        read += parts
        answers = [Answer(re.sub(r"[A-Za-z]+", "كلمة", part)) for part in parts]


LATEX = [
    (r"The answer is \boxed{42}.", r"\boxed{42}"),
    (r"\frac{1}{2}", r"\frac{1}{2}"),
    (r"The share is \frac{1}{2} of it", r"\frac{1}{2}"),
    (r"So \sqrt[3]{x + \sqrt{y}} is real", r"\sqrt[3]{x + \sqrt{y}}"),
    (r"Thus f(x) = \frac{1}{2}x^2 + \pi r^2 holds", r"f(x) = \frac{1}{2}x^2 + \pi r^2"),
    (r"The value \boxed{\text{Monday and Friday}} is right", r"\boxed{\text{Monday and Friday}}"),
    (r"Let \alpha be small", r"\alpha"),
    (r"Here x^{2} grows", "x^{2}"),
    (r"It is 10^{-3} of that", "10^{-3}"),
    (r"As a_{ij} grows", "a_{ij}"),
    (r"We know \left( \frac{a}{b} \right)^2 = c now", r"\left( \frac{a}{b} \right)^2 = c"),
    (r"An angle of 90^\circ is right", r"90^\circ"),
    (r"The sum \sum_{i=1}^{n} i is known", r"\sum_{i=1}^{n}"),
    (r"Read \cite[p. 3]{knuth84} first", r"\cite[p. 3]{knuth84}"),
    ("The book is $ x^2 + y = z $ and big.", "$ x^2 + y = z $"),
    (r"The book is $ \frac{a}{b}$ and big.", r"$ \frac{a}{b}$"),
    ("The letter $ x $ is here", "$ x $"),
    ("CO$_2$ and H$_2$O and N$_2$ are big.", "$_2$"),
    (r"The book is 5$\times$10$^3$ and big.", r"$\times$"),
    (r"The book is 5$\times$10$^3$ and big.", "$^3$"),
    ("The ion Ca$^{2+}$ and the ion SO$_4^{2-}$ meet", "$_4^{2-}$"),
    (r"See \begin{align}a &= b\end{align} here", r"\begin{align}a &= b\end{align}"),
]
DATA = [
    '<tool_call>{"name": "get_weather", "arguments": {"city": "Ankara"}}</tool_call>',
    '<function=get_weather>{"city": "Ankara"}</function>',
    '<invoke name="get_weather">\n<parameter name="city">Ankara</parameter>\n</invoke>',
    '{\n  "city": "Ankara",\n  "answer": "Ankara is in Turkey."\n}',
    '{"name": "get_weather", "arguments": {"city": "Ankara"}}',
    '[{"role": "user", "content": "Where is {it}?"}, {"n": -1.5e3, "ok": null}]',
    "{'city': 'Ankara', 'big': True}",
    '{city: "Ankara", big: true}',
    '{"quote": "she said \\"yes\\" to me", "path": "C:\\\\new"}',
    '{"a": {"b": {"c": ["Ankara", []]}}}',
    "<city><name>Ankara</name><country>Turkey</country></city>",
    '<?xml version="1.0"?>\n<list>\n  <city>Ankara</city>\n  <city>Izmir</city>\n</list>',
    "name: deploy\non:\n  push:\n    branches:\n      - main",
    "name,age,city\nTom,12,Paris\nAnn,30,Rome",
]
CODE = [
    "def where(city):\n    return city",
    "SELECT name FROM cities WHERE id = 5;",
    "public static final int SIZE = 5;",
    "int main (void)",
    "char *name(void);",
    "static int count = 5; // the number of the rows",
    "git clone https://a.org/b.git",
    "SELECT name, age\nFROM people\nWHERE age > 5\nORDER BY age;",
    "import os\nfor i in range(10):\n    print(i)",
    "int main() {\n    int count = 5;\n\n    return count;\n}",
    '#include <stdio.h>\nint main(void)\n{\n    printf("Hello\\n");\n}',
    "const list = [1, 2];\nlist.map(item => item + 1);",
    "public class Main {\n    public static void main(String[] args) {\n    }\n}",
    "/**\n * Say what it is for here.\n */\npublic int count(int n) {\n    return n;\n}",
    'fn main() {\n    println!("hi");\n}',
    'func main() {\n\tfmt.Println("hi")\n}',
    "body {\n  color: red;\n  margin: 0;\n}",
    "def total\n  @items.sum\nend",
    'class A:\n    """Say what it is for here."""\n    def f(self):\n        # all goes back\n'
    "        return 1",
    "$ git status\nOn branch main\n$ ls -l",
    ">>> print('a')\na",
    "pip install numpy",
    'Traceback (most recent call last):\n  File "a.py", line 3, in <module>\n    f(x)\n'
    "ValueError: bad",
    'Exception in thread "main" java.lang.Error: bad\n    at org.Main.run(Main.java:12)',
    "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-the old line of it\n"
    "+the new line of it\n same",
]


def test_formulas_without_dollars_and_with_odd_ones_come_back() -> None:
    for text, span in LATEX:
        made, read = translate(text)
        assert made.count(span) == text.count(span), (text, made)
        assert span not in read, text
        assert not re.search(r"(?<![\\A-Za-z$_^{}])[a-z]{2,}", made.replace(span, "")), (text, made)


@pytest.mark.parametrize("parts", [DATA, CODE], ids=["data", "code"])
def test_data_and_code_without_a_fence_come_back(parts: list[str]) -> None:
    for part in parts:
        assert translate(part) == (part, ""), part
        made, read = translate(f"Where is the city?\n\n{part}\n\nThis says where it is.")
        assert part in made, (part, made)
        assert read == "Where is the city?\nThis says where it is.", part
        assert not lost_spans(part, part + "\nنعم")


def test_the_text_in_an_element_of_style_is_translated() -> None:
    made, read = translate(r"See \textbf{the big house} and \emph{it} here")
    assert read == "See [[1]]the big house[[2]] and [[3]] here"
    assert made.count(r"\textbf{كلمة كلمة كلمة}") == 1


def test_prose_that_resembles_code_is_translated() -> None:
    for text in (
        "It costs $5 and $6, US$5, 10$ to 20$, or $2k to $25-50k.",
        "For those in need:\nwe give bread; and\nsee the manual (5);",
        "Ingredients:\n- eggs, milk, flour\n- salt",
        " * a dummy shell for (S/MIME) accounts;\n * making keys, CSRs, and CRLs;\n * more of it.",
        "Name: Tom\nAge: five\nCity: Paris",
        "eggs, milk, and flour\nsugar, salt, and oil",
        "From here, import the goods.\nReturn home (soon);\nwhile it rains:",
        "Select the best option from the list.",
        "<answer><b>Ankara</b> is it.</answer> <p>Yes</p>",
        "Total cost = price of apples + price of pears",
        "Use [this] or {that one} (see [1]).",
        'It is, as said,\nprotected by copyright and the rights beside it ("Copyright and\nmore").',
        "long options (see below)\nstring values (see below)\ndouble quotes (see below)",
        "git clone copies a repository into a new one",
        "sudo apt update asks for the lists",
        "export of the data = a large part of it",
        "IN NO  CASE  WILL WE  BE  HELD FOR (ANY)  HARM  IN  IT;\nNOR  ANY  OF  THE  OWNERS;",
        "It is free (`as is' and more)\n .\n You can use it in parts (`royalty-free' usage).",
    ):
        made, _ = translate(text)
        left = re.sub(r"<[^<>]*>|\$\d*k?", "", made)
        assert not re.search("[A-Za-z]{2,}", left), (text, made)


def test_other_keys_quotes_or_braces_are_a_fault() -> None:
    source = '{"city": "Ankara"}'
    for answer in ('{"المدينة": "Ankara"}', "{'city': 'Ankara'}", '{"city": "Ankara"', "أنقرة"):
        assert "more or less often" in text_fault(source, answer), answer
    assert text_fault(source, source) == ""
