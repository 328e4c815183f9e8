"""An answer with more than was asked is found, and the same text in a good translation passes."""

import pytest

from hala_hpc.data.checks.settings import CheckSettings
from hala_hpc.data.checks.translation import OutputChecks

FUNDS = "Withdrawal of funds."
FUNDS_AR = "سحب الأموال."

ADDED = [
    ("lines", FUNDS, "سحب\nالأموال."),
    ("lines", FUNDS, "سحب\u2028الأموال."),
    ("lines", "Name", "الاسم\nالكامل"),
    ("lines", FUNDS, FUNDS_AR + "\n\nسحب النقود."),
    (
        "structure",
        "| Name | Age |\n|---|---|\n| Sami | 5 |",
        "| الاسم\nالكامل | العمر |\n|---|---|\n| سامي | 5 |",
    ),
    ("comment", FUNDS, FUNDS_AR + "\n\n(Translated to Arabic: سحب الأموال)"),
    ("comment", FUNDS, FUNDS_AR + " (Translated to Arabic)"),
    ("comment", FUNDS, FUNDS_AR + " (ملاحظة: المقصود أموال البنك)"),
    ("comment", FUNDS, FUNDS_AR + " (ترجمة حرفية)"),
    ("comment", FUNDS, FUNDS_AR + " [مترجم من الإنجليزية]"),
    ("comment", FUNDS, FUNDS_AR + " (أي أخذ النقود من الحساب)"),
    ("comment", FUNDS, FUNDS_AR + " النص الأصلي: سحب"),
    ("comment", "Funds", "الأموال النص الأصلي: مال"),
    ("comment", FUNDS, FUNDS_AR + "\nالمعنى الحرفي: أخذ المال"),
    ("comment", FUNDS, FUNDS_AR + "\nI have kept the meaning."),
    ("comment", FUNDS, FUNDS_AR + "\nEnd of translation"),
    ("comment", FUNDS, "[Arabic] " + FUNDS_AR),
    ("comment", FUNDS, "(الترجمة) " + FUNDS_AR),
    ("comment", FUNDS, "Arabic translation - " + FUNDS_AR),
    ("comment", FUNDS, "الترجمة إلى العربية - " + FUNDS_AR),
    ("comment", FUNDS, "Arabic -> " + FUNDS_AR),
    ("comment", FUNDS, "الناتج: " + FUNDS_AR),
    ("comment", FUNDS, "Final answer: " + FUNDS_AR),
    ("comment", FUNDS, "Understood. " + FUNDS_AR),
    ("comment", FUNDS, "«" + FUNDS_AR + "»"),
    ("comment", FUNDS, '"' + FUNDS_AR + '"'),
]
GOOD = [
    ("Take it (from the bank account).", "خذها (من حساب البنك)."),
    ("Take it — from the bank account.", "خذها (من حساب البنك)."),
    ('"Take it"', "«خذها»"),
    ("**Take it**", "**خذها**"),
    ("He wrote a note. Original: see below.", "كتب ملاحظة. الأصل: انظر أدناه."),
    ("In English: take it.", "بالإنجليزية: خذها."),
    ("It is over. I have used it.", "انتهى الأمر. لقد استخدمته."),
    ("The result - a new house.", "النتيجة - بيت جديد."),
    ("Output: none", "الناتج: لا شيء"),
    ("one\ntwo", "واحد\nاثنان"),
    ("one\n\ntwo", "واحد\n\n\nاثنان"),
]


@pytest.fixture(scope="module")
def checks() -> OutputChecks:
    return OutputChecks(CheckSettings(), "en", "ar")


@pytest.mark.parametrize(("reason", "source", "answer"), ADDED)
def test_more_than_was_asked_is_found(
    checks: OutputChecks, reason: str, source: str, answer: str
) -> None:
    assert checks.fault(source, answer) == reason


@pytest.mark.parametrize(("source", "answer"), GOOD)
def test_what_the_source_has_is_nothing_added(
    checks: OutputChecks, source: str, answer: str
) -> None:
    assert checks.fault(source, answer) == ""
