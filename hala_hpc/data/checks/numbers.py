"""Whether a translation has the numbers of its source."""

import re
from collections import Counter
from unicodedata import normalize

from hala_hpc.data.checks.number_readings import (
    UnmatchedNumbers,
    is_decimal_word,
    is_part_of_scale,
    is_percentage_word,
    match_readings,
)
from hala_hpc.data.checks.views import Sides
from hala_hpc.data.text.digits import to_western_digits
from hala_hpc.data.text.number_words import is_spelled
from hala_hpc.data.text.scripts import primary_subtag

_FRACTION_SIGN = re.compile("[\u00bc-\u00be\u2150-\u215e]")
#: A clock time with a point.
_POINT_CLOCK = re.compile(r"\b(\d{1,2})\.([0-5]\d)(?=\s?(?:[ap]\.?\s?m\b|Uhr\b))", re.IGNORECASE)
_FULL_HOUR = re.compile(r"(?<=\d):00(?!\d)")
_NUMBER = re.compile(r"\d+(?:[.,٫٬،’'\u00a0\u202f]\d+)*")
_RUN = re.compile(r"[0-9]+")
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(?:([.,٬،’'\u00a0\u202f])[0-9]{3})(?:\1[0-9]{3})*")
_DECIMAL = re.compile(r"([0-9]+)[.,٫]([0-9]+)")


def wrong_numbers(sides: Sides) -> bool:
    """Whether numbers were lost or invented, protected spans aside.

    Digits of any script and any separators are the same number. A number may be a word on one side
    (`3 books`, `ثلاثة كتب`), and so may its zeros (`5 million`, `5,000,000`). Times, dates,
    fractions and Roman numerals are the same in each of their usual forms.
    """
    source, translation = (
        written_numbers(sides.source.plain),
        written_numbers(sides.translation.plain),
    )
    if source == translation:
        return False
    before, after = _one_notation(source), _one_notation(translation)
    if before == after or _runs(source) == _runs(translation):
        return False
    source_side = UnmatchedNumbers(
        before - after, fold_fractions(sides.source.plain), primary_subtag(sides.source.language)
    )
    translation_side = UnmatchedNumbers(
        after - before,
        fold_fractions(sides.translation.plain),
        primary_subtag(sides.translation.language),
    )
    match_readings(source_side, translation_side)
    return any(
        not _is_word(number, digits, words)
        for digits, words in ((source_side, translation_side), (translation_side, source_side))
        for number in +digits.numbers
    )


def written_numbers(text: str) -> list[str]:
    """Return the numbers of a text as written, with western digits."""
    # `10:00` is often written as ten.
    text = _FULL_HOUR.sub("", fold_fractions(text))
    return [to_western_digits(number) for number in _NUMBER.findall(text)]


def fold_fractions(text: str) -> str:
    """Write fraction characters as digits, `1½` as `1 1/2`, and `5.30pm` as `5:30pm`."""
    text = _POINT_CLOCK.sub(r"\1:\2", text)
    if text.isascii():
        return text
    return _FRACTION_SIGN.sub(
        lambda sign: " " + normalize("NFKC", sign.group()).replace("\u2044", "/"), text
    )


def _one_notation(written: list[str]) -> Counter[str]:
    """Count each number as `1234.5`; lists, dates and versions as their parts."""
    found: Counter[str] = Counter()
    for number in written:
        found.update(_parts(number))
    return found


def _parts(number: str) -> list[str]:
    grouped = _GROUPED.match(number)
    whole, rest = (grouped.group(), number[grouped.end() :]) if grouped else ("", number)
    digits = "".join(_RUN.findall(whole))
    if whole and not rest:
        return [digits]
    decimal = _DECIMAL.fullmatch(digits + rest)
    if decimal is None:
        return [_without_zeros(run) for run in _RUN.findall(number)]
    fraction = decimal[2].rstrip("0")
    return [_without_zeros(decimal[1]) + ("." + fraction if fraction else "")]


def _without_zeros(run: str) -> str:
    return run.lstrip("0") or "0"


def _runs(written: list[str]) -> Counter[str]:
    """Count each run of digits: the same for `1,2` and `1، 2`."""
    return Counter(_without_zeros(run) for number in written for run in _RUN.findall(number))


def _is_word(number: str, digits: UnmatchedNumbers, words: UnmatchedNumbers) -> bool:
    """Whether a number in digits of one text is in words in the other."""
    if "." in number:
        return is_decimal_word(number, words)
    short = number
    if len(number) == 4 and re.search(rf"\b{number}['’]?s\b", digits.western):
        short = number[2:]  # the 1990s are the nineties
    # Longer runs of digits are identifiers, and too long for Python's int conversion.
    if len(short) > 15:
        return False
    counts = (
        short in ("0", "1", "2")
        and re.search(rf"(?<![\w.-]){short} +[^\W\d_]", digits.western) is not None
    )
    return (
        is_spelled(int(short), words.text, words.language, counts=counts)
        or is_part_of_scale(int(short), digits, words)
        or is_percentage_word(int(short), digits, words)
    )
