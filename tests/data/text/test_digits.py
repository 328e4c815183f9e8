"""The digits of a text are converted outside of protected spans."""

import pytest

from hala_hpc.data.text.digits import apply_digits, to_western_digits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("عام 2019 و 3.5٪", "عام ٢٠١٩ و ٣.٥٪"),
        ("في ۱۴۰۲", "في ١٤٠٢"),
        ("ملف MP3 على H.264 أو x86_64 وVC-1", "ملف MP3 على H.264 أو x86_64 وVC-1"),
        ("اكتب `x = 10` ثم $y^2$", "اكتب `x = 10` ثم $y^2$"),
        ("https://example.org/2019 في 2019", "https://example.org/2019 في ٢٠١٩"),
        ("<<3+4=7>> الناتج 7", "<<3+4=7>> الناتج ٧"),
        ("%1$s من 10", "%1$s من ١٠"),
    ],
)
def test_arabic_digits_outside_of_protected_spans(text: str, expected: str) -> None:
    assert apply_digits(text, "arabic_indic") == expected


def test_western_digits_outside_of_protected_spans() -> None:
    assert apply_digits("عام ٢٠١٩ و`٣` و۴", "western") == "عام 2019 و`٣` و4"
    assert to_western_digits("١२๓４۵") == "12345"


def test_digits_stay_by_default() -> None:
    assert apply_digits("٢ و 2 و ۲", "keep") == "٢ و 2 و ۲"
