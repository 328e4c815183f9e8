"""The structure of texts: whose lines stay lines, and what reading it costs."""

import subprocess
import sys

import pytest

from hala_hpc.data.segmentation.alignment import find_structure_fault
from hala_hpc.data.segmentation.layout import LayoutRules, lay_out
from hala_hpc.data.segmentation.spans import protected_spans

#: Texts whose line ends carry meaning, though some lines are as long as those of a mail.
MEANT_LINES = {
    "poem": """\
The river takes the colour of the evening,
And all the boats are lying on the sand;
A woman calls her children from the water,
And no one hears the bell across the land.""",
    "poem without capitals": """\
the wind has a room in the house of my mother
it sleeps
when the door is shut and the lamp is lit
and wakes when we leave""",
    "poem with indented lines": """\
I saw the old men walking by the harbour,
    their hands behind them,
Two and two, and none of them was speaking,
    and it was winter.""",
    "haiku": """\
the last train has gone
a moth on the station clock
counts the minutes too""",
    "song with a chorus": """\
Oh, carry me over the mountain, my brother,
Carry me over the hill,
Carry me over the mountain, my brother,
The river is singing there still.""",
    "address": """\
The Society of Friends of the Old Harbour Library
14 Castle Street, third floor, second door left
Northern District, Kirkwall KW15 1AB
Orkney, United Kingdom""",
    "address without capitals": """\
faculty of arts and humanities, office of admissions
post box 2713
doha, state of qatar""",
    "signature": """\
Miriam Osei
Head of the Department of Comparative Literature
University of Cape Coast, Ghana
+233 33 213 2440""",
    "postal label": """\
TO THE DIRECTOR OF THE NATIONAL ARCHIVE OF MAPS
CLOCK TOWER SQUARE 3
1000 LJUBLJANA
SLOVENIA""",
    "keys and values": """\
Name: Tom Baker, of the school near the old bridge
Occupation: teacher of mathematics and of music
Languages: English, some Arabic, a little Turkish
Email: on request""",
    "keys with long values": """\
Title: A short history of the mills along the river Avon
Author: unknown, but probably a monk of the abbey nearby
Year: between 1410 and 1425, as the paper tells us""",
    "headers of a mail": """\
From: the secretary of the committee for public works
To: all members of the committee and their deputies
Date: Tuesday, the first of December
Subject: the meeting about the bridge""",
    "one key among lines": """\
Opening hours of the library in the old town hall
Monday to Friday: nine in the morning to six in the
evening
Saturday: closed""",
    "list with dashes": """\
- the first of the three boxes on the table by the door
- the second of them, which is the smaller and has no
- the third one""",
    "numbered list": """\
1. Take the left road at the mill and follow the river
2. Turn at the bridge that the soldiers built long ago
3. Wait there for the man with the grey horse""",
    "list with letters": """\
a) the colour of the evening over the harbour of the town
b) the colour of the morning over the mountains in the
c) neither""",
    "list with letters of Arabic": """\
أ) لون المساء فوق ميناء المدينة القديمة عند الجسر الكبير
ب) لون الصباح فوق الجبال البعيدة في شمال البلاد الباردة
ج) لا هذا ولا ذاك""",
    "checkboxes": """\
[ ] water the plants in the kitchen and on the balcony
[x] return the book about bridges to the library today
[ ] call the plumber""",
    "list without marks": """\
three eggs and a little salt
two cups of flour
half a litre of milk from the farm
butter for the pan""",
    "table with pipes": """\
| the name of the station | the number of its platforms |
|---|---|
| the old harbour station | two, of which one is closed |""",
    "table without outer pipes": """\
the name of the station | the number of its platforms
---|---
the old harbour station | two, of which one is closed""",
    "table with blanks": """\
station of the line     platforms    trains a day
old harbour             2            14
market in the new town  4            122""",
    "table with tabs": """\
the station of the line\tnumber of platforms\ttrains
the old harbour\t2\t14
the market in the new town\t4\t122""",
    "quotation of short lines": """\
> shall we meet at noon?
> near the bridge, or
> at the mill
> tell me""",
    "quotation and answer": """\
> Will the meeting of the committee take place as it was
no, it will not, and nobody has said why it was put off
> planned for Tuesday?
not for Tuesday""",
    "quotations of two depths": """\
>> the committee has decided to put the meeting off until
> then I shall not come to the town on Tuesday, as I had
>> the spring""",
    "dialogue": """\
"Will you come with us to the harbour this evening?"
"I will, if the rain has stopped by then."
"It never stops here."
"Then no." """,
    "code that nothing marks": """\
for name in sorted(names_of_all_stations_of_the_line):
    print(name, platforms[name])
    total += platforms[name]""",
    "commands": """\
cd /home/tom/projects/bridges
make clean
make all
make install""",
    "options": """\
-a, --all          also list the entries that are hidden
-l, --long         use a long format for each of them
-r, --reverse      reverse the order""",
    "headings": """\
# The river and the bridges of the old town in the north
## The river in the spring, when the snow of the hills
### The first bridge""",
    "lines of a log": """\
10:04:11 the server has been started by the operator on
10:04:12 the first client is connected from the harbour
10:05:40 the last client is gone""",
    "choices of a question": """\
What is the capital of the country north of the river?
Ankara
Sofia
Athens""",
    "menu": """\
Soup of lentils with lemon and bread of the house
Fish of the day
Rice with almonds and raisins
Coffee""",
    "lyrics in Arabic": """\
يا ليل الصب متى غده
أقيام الساعة موعده
رقد السمار فأرقه
أسف للبين يردده""",
}


@pytest.mark.parametrize("kind", MEANT_LINES)
def test_lines_that_carry_meaning_are_not_joined(kind: str) -> None:
    text = MEANT_LINES[kind]
    for level in ("text", "paragraph", "line"):
        layout = lay_out(text, LayoutRules(10_000, len, level))
        assert layout.wraps == ()
        assert layout.join([segment.text for segment in layout.segments]) == text


#: What is wrapped at a width, and the number of its paragraphs that are joined.
WRAPPED_TEXTS = {
    "mail": (
        """\
I have read what you sent me about the bridges, and
the part about the first of them is the one that I
liked most. The others were longer.""",
        1,
    ),
    "manual page": (
        """\
       The  utility  copies  each of the named files to the
       standard output, in the order in which they are given
       on the command line, and adds nothing of its own.""",
        1,
    ),
    "item of a list": (
        """\
- the first of the three boxes on the table by the door,
  which is the one that has no lock and that anyone could
  have opened
- the second""",
        1,
    ),
    "quotation": (
        """\
> I have read what you sent me about the bridges, and
> the part about the first of them is the one that I
> liked most.

Thank you.""",
        1,
    ),
    "two paragraphs": (
        """\
I have read what you sent me about the bridges, and
the part about the first of them is good.

The second part has a mistake in the year, which the
printer should correct before the book is bound.""",
        2,
    ),
}


@pytest.mark.parametrize("kind", WRAPPED_TEXTS)
def test_lines_that_were_wrapped_at_a_width_are_joined(kind: str) -> None:
    text, paragraphs = WRAPPED_TEXTS[kind]
    layout = lay_out(text, LayoutRules(10_000, len, "text"))
    assert len(layout.wraps) == paragraphs
    joined = layout.join([segment.text for segment in layout.segments])
    assert joined.split() == text.replace("\n> ", " ").split()


#: Translations whose lines go on below, in a column of their own: no fault.
CONTINUED_LINES = {
    "two columns": (
        """\
Operators of the comparison are:
  lt le eq ne       (treat an empty version as earlier);
  < << <= = >=      (only for the syntax of files).""",
        """\
Die Operatoren des Vergleichs sind:
  lt le eq ne       (behandelt eine leere Version als
                     die frühere);
  < << <= = >=      (nur für die Syntax von
                     Dateien).""",
    ),
    "names and meanings": (
        """\
  PID    start at this process; it is the first by default
  USER   show only trees of this user""",
        """\
  PID         starta vid denna process; den är den första
  ANVÄNDARE   visa endast träd med denna användares
              processer som rot""",
    ),
    "an option that is a number": (
        """\
Usage: peek [-8] [-n] [<file> ..]
    -8, --clean         output clean streams of bytes.
    -n, --no-headers    print no headers.""",
        """\
Použití: peek [-8] [-n] [<file> ..]
    -8, --clean         na výstupu neodstraňuje z proudů
                        osmý bit.
    -n, --no-headers    nezobrazuje hlavičky.""",
    ),
}


@pytest.mark.parametrize("kind", CONTINUED_LINES)
def test_a_line_that_goes_on_in_its_second_column_is_no_fault(kind: str) -> None:
    source, translation = CONTINUED_LINES[kind]
    spans = protected_spans(source), protected_spans(translation)
    assert find_structure_fault(source, translation, spans) is None
    without_last = translation.rpartition("\n  ")[0]
    broken = without_last.rpartition("\n  ")[0] if kind != "an option that is a number" else ""
    assert find_structure_fault(source, broken, (spans[0], protected_spans(broken))) is not None


#: Lines that meet each branch of the parser, the wrapping and the comparison.
REPEATED_LINES = [
    *("a\n", "a b. c\n", "\n", "a\n\n", "- a\n", "1. a\n", "# a\n", "> a\n", ">>> a\n", "key: a\n"),
    *("| a | b |\n", "|---|---|\n| a |\n", "a\tb\n", "```\n", "`a`\n\n", "$a$\n- \n", "--opt a\n"),
    "the line of a mail that someone has wrapped at a width and\n",
    "> the line of a mail that someone has wrapped at a width and\n",
    "- the line of a mail that someone has wrapped at a width\n  and goes on here.\n",
]

COUNT_WORK = """
import sys
from hala_hpc.data.segmentation.alignment import find_structure_fault
from hala_hpc.data.segmentation.layout import LayoutRules, lay_out
from hala_hpc.data.segmentation.spans import protected_spans

def work(text, other):
    spans = protected_spans(text), protected_spans(other)
    count = 0
    def tick(frame, event, value):
        nonlocal count
        count += event in ("call", "c_call")
    sys.setprofile(tick)
    for level, limit in (("text", 100_000_000), ("paragraph", 100)):
        layout = lay_out(text, LayoutRules(limit, len, level))
        layout.wrap(layout.join([segment.text for segment in layout.segments]))
    find_structure_fault(text, other, spans)
    find_structure_fault(other, text, (spans[1], spans[0]))
    sys.setprofile(None)
    return count

work("a\\nb\\n\\nc", "a\\nb\\n\\nc")  # imports
def join_half(text):
    return text.replace("\\n", " ", text.count("\\n") // 2)

for part in PARTS:
    for change in (str, join_half):
        short, long = (work(part * many, change(part * many)) for many in (20, 200))
        assert long <= 11 * short + 500, (part, short, long)
"""


def test_layout_and_check_of_structure_take_work_linear_in_the_text() -> None:
    script = COUNT_WORK.replace("PARTS", repr(REPEATED_LINES))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=600)
