"""Rules on pairs: what each rejects, what none may reject, and which copy of a pair stays."""

import random
from pathlib import Path
from typing import get_args

import pytest
from corpora import pair, write_corpus
from pydantic import ValidationError
from tiny_models import SENTENCES

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.data.checks.pair_duplicates import RepeatedPairs
from hala_hpc.data.checks.pair_filters import PairChecker
from hala_hpc.data.checks.pair_settings import PairRules, Rule
from hala_hpc.data.corpus.reader import part_name
from hala_hpc.data.corpus.writer import CorpusWriter

ENGLISH = "The committee has decided to postpone the meeting until the end of the month."
ARABIC = "قررت اللجنة تأجيل الاجتماع حتى نهاية الشهر."
FRENCH = "Le comité a décidé de reporter la réunion jusqu'à la fin du mois prochain."
BROKEN = {
    "blank": [(ENGLISH, ""), (" \n", ARABIC)],
    "control_sequence": [
        ("The book is on the table\x1b[0m in the room.", "الكتاب على الطاولة\x1b[0m في الغرفة."),
        ("The book is on the table[0m in the room.", ARABIC),
        ("[1;31mWarning: the disk is full.", ARABIC),
        ("The word is [31mred[39m here.", ARABIC),
        ("It printed \\x1b[0m at the end.", ARABIC),
        ("It printed \\033[1m at the end.", ARABIC),
        (ENGLISH, ARABIC + "\x07"),
        (ENGLISH.replace("has", "has\x08"), ARABIC),
        (ENGLISH, ARABIC.replace(" ", "\x92", 1)),
        (ENGLISH + "\x00", ARABIC),
        (ENGLISH, ARABIC + "\x7f."),
    ],
    "broken_letters": [
        (ENGLISH, "الكتاب على الطا\ufffdلة في الغر\ufffdة."),
        ("The caf\ufffd is open today.", ARABIC),
        ("The cafÃ© is open today.", ARABIC),
        ("Itâ€™s open today.", ARABIC),
        ("It costs Â£5 for each of us.", ARABIC),
        (ENGLISH, "Ù‚Ø±Ø±Øª Ø§Ù„Ù„Ø¬Ù†Ø© اليوم تأجيل الاجتماع"),
        (ENGLISH, "قررت ÇááÌäÉ ÊÃÌíá الاجتماع اليوم"),
        (ENGLISH, "???? ????? تأجيل الاجتماع حتى نهاية الشهر"),
        (ENGLISH, "قررت ??اللجنة تأجيل الاجتماع حتى نهاية الشهر"),
        (ENGLISH, "قررت اللجنة \ufffc تأجيل الاجتماع حتى نهاية الشهر"),
        (ENGLISH, "قررت اللجنة \uffff تأجيل الاجتماع حتى نهاية الشهر"),
    ],
    "entity": [
        ("Tom &amp; Ann said &quot;yes&quot; today.", "قال توم وآن &quot;نعم&quot; اليوم."),
        ("Tom &amp;amp; Ann said yes today.", "قال توم وآن نعم اليوم."),
        ("It&#39;s a long way to the town.", "الطريق إلى المدينة طويل جدا."),
        ("It&#x27;s a long way to the town.", "الطريق إلى المدينة طويل جدا."),
        ("A long & quot ; way & quot ; to go", "طريق طويل علينا أن نسلكه"),
        ("A long way&nbsp;to the town", "طريق طويل إلى المدينة"),
        ("A long way to the town", "طريق&nbsp;طويل إلى المدينة"),
        ("The price is &euro;5 for all of us", "السعر خمسة يورو لنا جميعا"),
        ("The &lt;b&gt; tag makes it bold", "علامة &lt;b&gt; تجعله غامقا"),
        ("Men &AMP; women came here", "جاء الرجال والنساء إلى هنا"),
        ("It is 5&deg; in the town today", "درجة الحرارة خمس في المدينة اليوم"),
    ],
    "subtitle_code": [
        (ENGLISH, "{\\i1}" + ARABIC + "{\\i0}"),
        (r"{\an8}" + ENGLISH, r"{\an8}" + ARABIC),
        (r"{\pos(192,230)}" + ENGLISH, ARABIC),
        (r"{\c&H00FFFF&}" + ENGLISH, ARABIC),
        (r"{\b1\fs20}" + ENGLISH, ARABIC),
        ("{y:i}" + ENGLISH, ARABIC),
        ("{c:$0000ff}" + ENGLISH, ARABIC),
        ("{120}{180}" + ENGLISH, ARABIC),
        ("00:01:02,345 --> 00:01:04,000\n" + ENGLISH, ARABIC),
        ("<c.yellow>" + ENGLISH + "</c>", ARABIC),
        (r"Hello there.\NHow are you today?", "مرحبا. كيف حالك اليوم؟"),
        ("<i>" + ENGLISH + "</i>", ARABIC),
        (ENGLISH, "<i>" + ARABIC),
        ("♪ " + ENGLISH + " ♪", ARABIC),
        ('<font color="#ffff00">' + ENGLISH + "</font>", ARABIC),
    ],
    "too_short": [("s", "ث"), ("Friday", "ج")],
    "too_many_characters": [(ENGLISH * 50, ARABIC * 80)],
    "few_letters": [("12:30 - 14:45 (a)", "12:30 - 14:45 (ص)"), ("…!?", "…!؟")],
    "length_ratio": [(ENGLISH * 3, ARABIC), ("Yes", ARABIC * 2)],
    "copied": [(ENGLISH, ENGLISH), ("VLC player", "vlc  Player"), ("Hello there", "hello, there!")],
    "other_numbers": [("It was built in 1987.", "بني في 1432."), ("Born 1999", "ولد في ٢٥ مايو")],
    "source_language": [(FRENCH, ARABIC), (ARABIC, ARABIC.replace("اللجنة", "الحكومة") + "كلها")],
    "target_language": [(ENGLISH, FRENCH)],
}
GOOD = [
    (ENGLISH, ARABIC),
    ("OK", "حسنا"),
    ("170 Hz", "١٧٠ هرتز"),
    ("It was built in 1987.", "بني في ١٩٨٧."),
    ("We need three copies by 5 p.m.", "نحتاج إلى 3 نسخ قبل الخامسة مساء."),
    ("Video bitrate tolerance", "هامش معدل بت الفيديو"),
    ("Blackmagic DeckLink SDI input", "دخل Blackmagic DeckLink SDI"),
    ("Added “%(object)s”.", "أُضيف ”%(object)s“."),
    ("<i>" + ENGLISH + "</i>", "<i>" + ARABIC + "</i>"),
    ("♪ " + ENGLISH, "♪ " + ARABIC + " ♪"),
    ('<font color="red">' + ENGLISH + "</font>", "<font color=red>" + ARABIC + "</font>"),
    (r"The angle $x_{\alpha}$ and {\bf bold} words", r"الزاوية $x_{\alpha}$ وكلمات {\bf غامقة}"),
    ("AT&T and R&D; that is all", "شركة AT&T وقسم R&D هذا كل شيء"),
    ("Tom & Jerry; a film for all", "توم وجيري فيلم للجميع"),
    ("See the &kde; guide for users", "انظر دليل &kde; للمستخدمين"),
    (r"Open C:\New folder\Notes on the disk", r"افتح C:\New folder\Notes في القرص"),
    (r"Write the line\nand the next one", r"اكتب السطر\nوالسطر التالي"),
    ("Hello {name}, you have {0} letters", "مرحبا {name}، لديك {0} رسائل"),
    ("What??? Are you really sure?", "ماذا؟؟؟ هل أنت متأكد حقا؟"),
    ("The café in São Paulo – “naïve”", "المقهى في ساو باولو – «ساذج»"),
    ("It is 5 °C ± 1, No. 7 ©", "إنها 5 °C ± 1، رقم 7 ©"),
    ("Tab\tand line\nof the text", "مسافة\tوسطر\nمن النص"),
    ("The road is [10m] wide here", "عرض الطريق هنا [10m]"),
    (ENGLISH, "\u202b\u200f" + ARABIC + "\u202c"),
    (ENGLISH, "قَرَّرَتِ اللَّجْنَةُ تَأْجِيلَ الاِجْتِمَاعِ حَتَّى نِهَايَةِ الشَّهْرِ ﷺ"),
    ("مرحبا", "مرحبا بك"),
    *SENTENCES.items(),
]


def checker(**rules: object) -> PairChecker:
    return PairChecker(PairRules.model_validate(rules), "en", "ar")


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_rejects_what_it_is_for_and_can_be_switched_off(rule: Rule) -> None:
    for source, target in BROKEN[rule]:
        assert checker().first_broken(source, target) == rule
        assert checker(disabled=[rule]).first_broken(source, target) != rule


def test_every_rule_has_an_example_here() -> None:
    assert set(BROKEN) | {"duplicate"} == set(get_args(Rule))


@pytest.mark.parametrize(("source", "target"), GOOD)
def test_good_pairs_keep_all_rules(source: str, target: str) -> None:
    assert checker().first_broken(source, target) == ""


def test_bounds_are_settings_and_unknown_rules_are_refused() -> None:
    assert checker(max_length_ratio=9).first_broken("Yes", ARABIC * 2) == ""
    assert checker(min_letters=0.75).first_broken("170 Hz", "١٧٠ هرتز") == "few_letters"
    assert checker(max_characters=10).first_broken(ENGLISH, ARABIC) == "too_many_characters"
    with pytest.raises(ValidationError, match="max_length_ratio"):
        PairRules(max_length_ratio=0.5)
    with pytest.raises(ValidationError, match="'blank'"):
        PairRules.model_validate({"disabled": ["blanks"]})


def test_the_first_of_equal_pairs_stays(tmp_path: Path) -> None:
    first = [
        pair("Page 12 of 40", "صفحة 12 من 40"),
        pair("Good morning", "صباح الخير"),
        pair("Good morning", "صباح النور"),
        pair("Goodmorning!", "كل صباح"),
        pair("कि", "أن"),
        pair("की", "أن"),
    ]
    later = [
        pair("page 7 of ٣", "صفحة 7 من ٣."),
        pair("GOOD\tMorning!", "«صباح  الخير»"),
        pair("Ｇｏｏｄ　ｍｏｒｎｉｎｇ", "صباح الخير…"),
        pair("good morning?", "صباح, النور"),
    ]
    repeated = RepeatedPairs(write_corpus(tmp_path / "c", first + later))
    assert [row["id"] in repeated for row in first] == [False] * len(first)
    assert [row["id"] in repeated for row in later] == [True] * len(later)
    assert len(repeated) == len(later)


def test_many_pairs_in_many_shards_leave_one_of_each(tmp_path: Path) -> None:
    draw = random.Random(5)
    rows = [
        pair(f"{word}{'!' * number}", word[::-1])
        for word in ("abc", "ABD", "xyz", "ab c")
        for number in range(100)
    ]
    draw.shuffle(rows)
    repeated = RepeatedPairs(write_corpus(tmp_path / "c", rows))
    left = [row for row in rows if row["id"] not in repeated]
    # "abc" and "ab c" differ in their targets alone by a space.
    assert len(left) == 3
    assert left[0] is rows[0]


def test_copies_with_one_id_are_left_alone(tmp_path: Path) -> None:
    row = pair("Good morning", "صباح الخير")
    assert len(RepeatedPairs(write_corpus(tmp_path / "c", [row, row]))) == 0


def test_a_corpus_without_rows_has_no_duplicates_and_a_missing_one_is_named(tmp_path: Path) -> None:
    with CorpusWriter(tmp_path / "c" / part_name(0), "pairs"):
        pass
    assert "anything" not in RepeatedPairs(tmp_path / "c")
    with pytest.raises(UserError, match="there is no such folder") as error:
        RepeatedPairs(tmp_path / "none")
    assert error.value.code == NO_INPUT
